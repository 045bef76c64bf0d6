// Decodes a weight stream, the memory image of `tightc pack --stream`, for an array of up to ROWS x COLUMNS: filters of
// columns, lists of lanes, then weights with their selects, one in a cycle, tile by tile. docs/stream.md of tightc has the
// format. It takes integers of up to 8 bits.
//
// What a layer gives may be used from `layer_done` on: then its check sum is right. `error` says what is wrong, and the
// decoder stops: 1 the header, 2 a check sum, 3 bits that contradict each other, 4 a layer that is too large for it.
module stream_decoder #(
    parameter ROWS = 8,
    parameter COLUMNS = 8,
    parameter FAN_IN = 1,
    parameter FILTERS = 64,       // of a layer
    parameter INPUTS = 1024,      // of a layer, over all groups
    parameter ADDRESS_BITS = 16,  // of the words of the image
    parameter STEPS = 4,          // of a numbered subset in a cycle
    parameter LANE_BITS = $clog2(ROWS) + 1,
    parameter PLACE_BITS = $clog2(FAN_IN) + 1
) (
    input  logic                    clock,
    input  logic                    reset,
    output logic [ADDRESS_BITS-1:0] address,
    input  logic [31:0]             word,          // at `address`, its first byte highest
    output logic [15:0]             layer,
    output logic [15:0]             tile,
    output logic                    column_valid,  // `column` has `filter`
    output logic                    lane_valid,    // input `place` of `lane` is `input_name`
    output logic                    slot_valid,    // the slot of `lane` and `column` multiplies input `place` by `weight`
    output logic [15:0]             column,
    output logic [15:0]             filter,
    output logic [LANE_BITS-1:0]    lane,
    output logic [PLACE_BITS-1:0]   place,
    output logic [15:0]             input_name,
    output logic signed [7:0]       weight,
    output logic                    layer_done,
    output logic                    done,
    output logic [2:0]              error
);
    localparam ITEMS = ROWS * FAN_IN;  // lane inputs of a tile
    localparam ITEM_BITS = $clog2(ITEMS) + 1;
    // of an index among filters, columns, columns and one more, lane inputs
    localparam F = FILTERS > 1 ? $clog2(FILTERS) : 1;
    localparam C = COLUMNS > 1 ? $clog2(COLUMNS) : 1;
    localparam G = $clog2(COLUMNS + 1);
    localparam I = ITEMS > 1 ? $clog2(ITEMS) : 1;
    localparam MAGIC = 32'h53574354;
    localparam HEADER = 1, CHECK_SUM = 2, CONTRADICTION = 3, TOO_LARGE = 4;
    localparam S_HEADER = 0, S_LENGTH = 1, S_CHECK = 2, S_SIZES = 3, S_OTHER_LANES = 4, S_LANES = 5, S_DIVIDE = 6;
    localparam S_FORM = 7, S_USES = 8, S_VALUES = 9, S_COLUMNS = 10, S_REPEATED = 11, S_OLD = 12, S_NEW_FILTERS = 13;
    localparam S_OLD_FILTERS = 14, S_SAME_FILTERS = 15, S_LIST = 16, S_ITEMS = 17, S_ITEMS_REPEATED = 18, S_NAMES = 19;
    localparam S_SAME_NAMES = 20, S_COUNT = 21, S_SLOTS_OF = 22, S_STARTS = 23, S_ORDER = 24, S_RANKS = 25;
    localparam S_RANKED = 26, S_PLACE = 27, S_WEIGHTS = 28, S_TILE_END = 29, S_LAYER_END = 30, S_END = 31;
    logic [4:0] state;
    logic       stopped;
    logic [2:0] step;  // of fields that are alike

    // the image
    logic [31:0] number, window, check, size, record_check;
    logic [28:0] length;
    logic        take, restart, open, ready, ended, reader_wrong;
    logic [5:0]  used, own_used;
    logic [15:0] layers, high_half, low_half;
    logic [3:0]  form;   // floating-point, bits of a weight less 1 over 7
    image_reader #(.ADDRESS_BITS(ADDRESS_BITS)) reader (
        .clock(clock), .reset(reset), .address(address), .word(word), .number(number), .take(take), .restart(restart),
        .open(open), .length(length), .window(window), .ready(ready), .used(used), .check(check), .ended(ended),
        .wrong(reader_wrong)
    );
    assign {high_half, low_half, form} = {number, window[31:28]};
    assign take = !stopped && (state == S_HEADER || state == S_LENGTH || state == S_CHECK);
    assign restart = state == S_LENGTH || step == 0;
    assign open = !stopped && state == S_CHECK;

    // codes
    logic [15:0] gamma, things, count, member, uses_value, value;
    logic [5:0]  gamma_used, choice_used, uses_used, values_used, subset_used, uses_length, value_length;
    logic [29:0] choice;
    logic [31:0] options;
    logic        gamma_wrong, uses_start, uses_busy, uses_wrong, values_start, values_busy, values_wrong;
    logic        subset_start, member_valid, next, subset_done, subset_wrong;
    gamma_reader gamma_reader (.window(window), .number(gamma), .used(gamma_used), .wrong(gamma_wrong));
    choice_reader choice_reader (.window(window), .options(options), .chosen(choice), .used(choice_used));
    code_table uses_table (
        .clock(clock), .reset(reset), .start(uses_start), .window(window), .ready(ready), .used(uses_used),
        .busy(uses_busy), .wrong(uses_wrong), .value(uses_value), .length(uses_length)
    );
    code_table values_table (
        .clock(clock), .reset(reset), .start(values_start), .window(window), .ready(ready), .used(values_used),
        .busy(values_busy), .wrong(values_wrong), .value(value), .length(value_length)
    );
    subset_reader #(.STEPS(STEPS)) subset_reader (
        .clock(clock), .reset(reset), .start(subset_start), .things(things), .count(count), .window(window),
        .ready(ready), .used(subset_used), .valid(member_valid), .member(member), .next(next), .done(subset_done),
        .wrong(subset_wrong)
    );
    assign used = stopped ? 0 : own_used | uses_used | values_used | subset_used;

    // the layer
    logic [15:0] filters, inputs, groups, tiles, filters_per_group, rest;
    logic [15:0] usual [0:2];
    logic [15:0] sizes [0:2];  // rows, columns, fan-in
    logic [2:0]  weight_bits;  // less 1
    logic [FILTERS-1:0] seen, chosen;
    logic [15:0] seen_count;

    // the columns of the tile, and their groups
    logic [15:0] columns, repeated, new_count, walked, index, last_filter, group, group_filter, group_count;
    logic [COLUMNS-1:0] same_column;
    logic [15:0] group_first  [0:COLUMNS];
    logic [15:0] group_number [0:COLUMNS-1];
    logic [15:0] readable;     // inputs
    logic        at_chosen;    // the filter `walked` has the number of the member
    assign at_chosen = seen[F'(walked)] == (state == S_OLD_FILTERS) && index == member;
    assign readable = group_count * inputs;

    // the lane inputs
    logic [ITEM_BITS-1:0] items, item, names, name;
    logic [15:0] name_group, name_base;
    logic [ITEMS-1:0]      same_name;
    logic [15:0]           unique_names  [0:ITEMS-1];
    logic [15:0]           unique_groups [0:ITEMS-1];
    logic [15:0]           input_names   [0:ITEMS-1];
    logic [COLUMNS-1:0]    masks         [0:ITEMS-1];
    logic [15:0]           uses          [0:ITEMS-1];
    logic [I-1:0]          order         [0:ITEMS-1];
    logic [LANE_BITS-1:0]  lanes         [0:ITEMS-1];
    logic [PLACE_BITS-1:0] places        [0:ITEMS-1];
    logic [ITEM_BITS-1:0]  histogram     [0:COLUMNS];
    logic [COLUMNS-1:0]    mask;
    logic [15:0]           most_uses, uses_here, own_group;
    assign own_group = unique_groups[I'(name)];
    assign most_uses = group_first[G'(own_group + 16'd1)] - group_first[G'(own_group)];

    // their lanes
    logic [ITEM_BITS-1:0]  ranked;
    logic [I-1:0]          placed;
    logic [LANE_BITS-1:0]  rank, lane_options, placed_lane;
    logic [PLACE_BITS-1:0] placed_at;
    logic                  rank_known, put;
    assign placed = order[I'(item)];
    lane_placer #(.ROWS(ROWS), .COLUMNS(COLUMNS), .FAN_IN(FAN_IN)) placer (
        .clock(clock), .clear(state == S_RANKS), .columns(masks[placed]), .rows(sizes[0][LANE_BITS-1:0]),
        .fan_in(sizes[2][PLACE_BITS-1:0]), .rank(rank), .put(put), .options(lane_options), .lane(placed_lane),
        .place(placed_at)
    );
    assign put = !stopped && state == S_PLACE && lane_options != 0 && (item >= ranked || rank_known);

    // the slots
    logic [COLUMNS-1:0] lowest;
    logic [15:0] slot_column;
    assign lowest = mask & -mask;
    always_comb begin
        slot_column = 0;
        for (int c = 1; c < COLUMNS; c = c + 1) if (lowest[c]) slot_column = 16'(c);
    end

    // bits that the state reads, and the subsets that it starts
    logic [2:0] found;  // an error
    logic       last_item;
    assign last_item = item + 1 == items;
    always_comb begin
        {own_used, options, found} = {6'd0, 32'd1, 3'd0};
        {subset_start, things, count, next} = {1'b0, 16'd0, 16'd0, 1'b0};
        {uses_start, values_start} = 0;
        case (state)
            S_HEADER: begin
                if (step == 0 && number != MAGIC) found = HEADER;
                if (step == 1 && low_half != 1) found = HEADER;
                if (step == 3 && high_half != 0) found = HEADER;
                if (step == 5 && number != check) found = HEADER;
            end
            S_LENGTH: if (number > size) found = CHECK_SUM;
            S_SIZES, S_LANES, S_REPEATED: if (ready) begin
                own_used = gamma_used;
                if (gamma_wrong) found = TOO_LARGE;
            end
            S_OTHER_LANES: if (ready) own_used = 1;
            S_DIVIDE: begin
                if (32'(filters) > FILTERS || 32'(inputs) * 32'(groups) > INPUTS || 32'(sizes[0]) > ROWS
                    || 32'(sizes[1]) > COLUMNS || 32'(sizes[2]) > FAN_IN) found = TOO_LARGE;
                else if (groups > filters || (rest < groups && rest != 0)) found = CONTRADICTION;
            end
            S_FORM: if (ready) begin
                own_used = 7;
                uses_start = 1;
                if (form != 0) found = TOO_LARGE;
            end
            S_USES: if (!uses_busy) values_start = 1;
            S_COLUMNS: if (ready) {options, own_used} = {32'(sizes[1]) + 32'd1, choice_used};
            S_OLD: if (ready) begin
                own_used = gamma_used;
                {subset_start, things, count} = {1'b1, filters - seen_count, columns - repeated - gamma};
                if (gamma_wrong || repeated >= columns || gamma > columns - repeated || gamma > seen_count
                    || columns - repeated - gamma > filters - seen_count) found = CONTRADICTION;
            end
            S_NEW_FILTERS, S_OLD_FILTERS: begin
                next = member_valid && at_chosen;
                if (subset_done) begin
                    subset_start = 1;
                    things = state == S_NEW_FILTERS ? seen_count : columns - 1;
                    count = state == S_NEW_FILTERS ? columns - repeated - new_count : repeated;
                end
            end
            S_SAME_FILTERS, S_SAME_NAMES, S_SLOTS_OF: next = 1;
            S_ITEMS: if (ready) begin
                options = 32'(sizes[0]) * (sizes[2] < columns ? 32'(sizes[2]) : 32'(columns)) + 1;
                own_used = choice_used;
            end
            S_ITEMS_REPEATED: if (ready) begin
                own_used = gamma_used;
                {subset_start, things, count} = {1'b1, readable, 16'(items) - gamma};
                if (gamma_wrong || (items == 0 ? gamma != 0 : gamma >= 16'(items)) || 16'(items) - gamma > readable)
                    found = CONTRADICTION;
            end
            S_NAMES: begin
                next = member_valid && member - name_base < inputs;
                if (subset_done) {subset_start, things, count} = {1'b1, items == 0 ? 16'd0 : 16'(items) - 16'd1, repeated};
            end
            S_COUNT: if (ready) begin
                own_used = uses_length;
                {subset_start, things, count} = {1'b1, most_uses, uses_value};
                if (uses_value == 0 || uses_value > most_uses) found = CONTRADICTION;
            end
            S_RANKS: if (ready) own_used = 1;
            S_RANKED: if (ready) {options, own_used} = {32'(items), choice_used};
            S_PLACE: begin
                options = 32'(lane_options);
                if (lane_options == 0) found = CONTRADICTION;
                else if (ready && item < ranked && !rank_known) own_used = choice_used;
            end
            S_WEIGHTS: if (ready) begin
                own_used = value_length + 1;
                if (value >> (4'(weight_bits) + 4'd1) != 0) found = CONTRADICTION;
            end
            S_LAYER_END: if (!ended) found = CONTRADICTION;
                         else if (check != record_check) found = CHECK_SUM;
            S_END: if (32'(address) << 2 != size) found = HEADER;
            default: found = 0;
        endcase
        if (reader_wrong || uses_wrong || values_wrong || subset_wrong) found = CONTRADICTION;
    end

    // what comes out
    logic listed;
    assign listed = state == S_LIST && column != columns && (same_column[C'(column)] || chosen[F'(walked)]);
    assign column_valid = !stopped && listed;
    assign filter = same_column[C'(column)] ? last_filter : walked;
    assign lane_valid = put;
    assign slot_valid = !stopped && state == S_WEIGHTS && ready;
    assign lane = state == S_WEIGHTS ? lanes[I'(item)] : placed_lane;
    assign place = state == S_WEIGHTS ? places[I'(item)] : placed_at;
    assign input_name = input_names[placed];
    assign weight = window[5'd31 - 5'(value_length)] ? 8'd0 - 8'(value) : 8'(value);
    assign layer_done = !stopped && state == S_LAYER_END && found == 0;
    logic [15:0] listed_column;
    assign column = state == S_WEIGHTS ? slot_column : listed_column;

    always_ff @(posedge clock) begin
        if (reset) begin
            {state, step, stopped, done, error, layer, tile} <= 0;
        end else if (!stopped && found != 0) begin
            {stopped, error} <= {1'b1, found};
        end else if (!stopped) case (state)
            S_HEADER: begin
                step <= step + 1;
                case (step)
                    1: layers <= number[31:16];
                    2: {usual[1], usual[0]} <= number;
                    3: usual[2] <= number[15:0];
                    4: size <= number;
                    5: {state, step} <= {layers == 0 ? 5'(S_END) : 5'(S_LENGTH), 3'd0};
                    default: step <= step + 1;
                endcase
            end
            S_LENGTH: {state, length} <= {5'(S_CHECK), number[28:0]};
            S_CHECK: {state, step, record_check} <= {5'(S_SIZES), 3'd0, number};
            S_SIZES: if (ready) begin
                step <= step + 1;
                case (step)
                    0: filters <= gamma + 1;
                    1: inputs <= gamma + 1;
                    2: groups <= gamma + 1;
                    default: {state, step, tiles} <= {5'(S_OTHER_LANES), 3'd0, gamma};
                endcase
            end
            S_OTHER_LANES: if (ready) begin
                for (int i = 0; i < 3; i = i + 1) sizes[i] <= usual[i];
                {rest, filters_per_group} <= {filters, 16'd0};
                state <= window[31] ? S_LANES : S_DIVIDE;
            end
            S_LANES: if (ready) begin
                step <= step + 1;
                sizes[step[1:0]] <= gamma + 1;
                if (step == 2) {state, step} <= {5'(S_DIVIDE), 3'd0};
            end
            S_DIVIDE: begin  // without division: the filters of a group, and what the layer begins with
                {rest, filters_per_group} <= {rest - groups, filters_per_group + 16'd1};
                if (rest == 0) begin
                    filters_per_group <= filters_per_group;
                    state <= tiles == 0 ? S_LAYER_END : S_FORM;
                end
                {seen_count, tile} <= 0;
                seen <= 0;
                chosen <= 0;
                same_column <= 0;
                same_name <= 0;
                for (int c = 0; c <= COLUMNS; c = c + 1) histogram[c] <= 0;
            end
            S_FORM: if (ready) {state, weight_bits} <= {5'(S_USES), window[27:25]};
            S_USES: if (!uses_busy) state <= S_VALUES;
            S_VALUES: if (!values_busy) state <= S_COLUMNS;
            S_COLUMNS: if (ready) begin
                columns <= 16'(choice);
                state <= choice == 0 ? S_TILE_END : S_REPEATED;
            end
            S_REPEATED: if (ready) {state, repeated} <= {5'(S_OLD), gamma};
            S_OLD: if (ready) begin
                {state, new_count} <= {5'(S_NEW_FILTERS), columns - repeated - gamma};
                {walked, index} <= 0;
            end
            S_NEW_FILTERS, S_OLD_FILTERS: begin
                if (subset_done) begin
                    {walked, index} <= 0;
                    state <= state == S_NEW_FILTERS ? S_OLD_FILTERS : S_SAME_FILTERS;
                end else if (member_valid) begin
                    walked <= walked + 1;
                    if (seen[F'(walked)] == (state == S_OLD_FILTERS)) index <= index + 1;
                    if (at_chosen) chosen[F'(walked)] <= 1;
                end
            end
            S_SAME_FILTERS: begin
                if (member_valid) same_column[C'(member + 16'd1)] <= 1;
                if (subset_done) begin
                    state <= S_LIST;
                    {walked, listed_column, group, group_filter, group_count} <= 0;
                end
            end
            S_LIST: begin
                if (listed) begin
                    listed_column <= listed_column + 1;
                    if (!same_column[C'(column)]) begin
                        last_filter <= walked;
                        if (group_count == 0 || group_number[C'(group_count - 16'd1)] != group) begin
                            group_first[G'(group_count)] <= listed_column;
                            group_number[C'(group_count)] <= group;
                            group_count <= group_count + 1;
                        end
                    end
                end
                if (listed_column == columns) begin
                    state <= S_ITEMS;
                    group_first[G'(group_count)] <= columns;
                    seen <= seen | chosen;
                    seen_count <= seen_count + new_count;
                    chosen <= 0;
                    same_column <= 0;
                end else if (!same_column[C'(column)]) begin
                    walked <= walked + 1;
                    group_filter <= group_filter + 1 == filters_per_group ? 0 : group_filter + 1;
                    if (group_filter + 1 == filters_per_group) group <= group + 1;
                end
            end
            S_ITEMS: if (ready) {state, items} <= {5'(S_ITEMS_REPEATED), ITEM_BITS'(choice)};
            S_ITEMS_REPEATED: if (ready) begin
                {state, repeated} <= {5'(S_NAMES), gamma};
                {names, name_group, name_base} <= 0;
            end
            S_NAMES: begin
                if (next) begin
                    unique_names[I'(names)] <= group_number[C'(name_group)] * inputs + member - name_base;
                    unique_groups[I'(names)] <= name_group;
                    names <= names + 1;
                end else if (member_valid) begin
                    {name_group, name_base} <= {name_group + 16'd1, name_base + inputs};
                end
                if (subset_done) state <= S_SAME_NAMES;
            end
            S_SAME_NAMES: begin
                if (member_valid) same_name[I'(member + 16'd1)] <= 1;
                if (subset_done) state <= items == 0 ? S_TILE_END : S_COUNT;
                {item, name} <= 0;
                mask <= 0;
            end
            S_COUNT: if (ready) {state, uses_here} <= {5'(S_SLOTS_OF), uses_value};
            S_SLOTS_OF: begin
                if (member_valid) mask[C'(group_first[G'(own_group)] + member)] <= 1;
                if (subset_done) begin
                    masks[I'(item)] <= mask;
                    uses[I'(item)] <= uses_here;
                    input_names[I'(item)] <= unique_names[I'(name)];
                    histogram[G'(uses_here)] <= histogram[G'(uses_here)] + 1;
                    item <= last_item ? 0 : item + 1;
                    if (!last_item && !same_name[I'(item + ITEM_BITS'(1))]) name <= name + 1;
                    mask <= 0;
                    {state, index} <= {last_item ? 5'(S_STARTS) : 5'(S_COUNT), columns};
                    name_base <= 0;
                end
            end
            S_STARTS: begin  // the histogram becomes the first place of each number of uses, the largest first
                histogram[G'(index)] <= ITEM_BITS'(name_base);
                name_base <= name_base + 16'(histogram[G'(index)]);
                index <= index - 1;
                if (index == 1) state <= S_ORDER;
            end
            S_ORDER: begin
                order[I'(histogram[G'(uses[I'(item)])])] <= I'(item);
                histogram[G'(uses[I'(item)])] <= histogram[G'(uses[I'(item)])] + 1;
                item <= item + 1;
                if (last_item) {state, item} <= {5'(S_RANKS), ITEM_BITS'(0)};
            end
            S_RANKS: begin
                for (int c = 0; c <= COLUMNS; c = c + 1) histogram[c] <= 0;
                {ranked, rank, rank_known} <= 0;
                same_name <= 0;
                if (ready) state <= window[31] ? S_RANKED : S_PLACE;
            end
            S_RANKED: if (ready) {state, ranked} <= {5'(S_PLACE), ITEM_BITS'(choice) + ITEM_BITS'(1)};
            S_PLACE: begin
                if (put) begin
                    lanes[placed] <= placed_lane;
                    places[placed] <= placed_at;
                    {rank, rank_known} <= 0;
                    item <= last_item ? 0 : item + 1;
                    if (last_item) begin
                        state <= S_WEIGHTS;
                        mask <= masks[0];
                    end
                end else if (ready) {rank, rank_known} <= {LANE_BITS'(choice), 1'b1};
            end
            S_WEIGHTS: if (ready) begin
                mask <= mask ^ lowest;
                if (mask == lowest) begin
                    item <= item + 1;
                    mask <= masks[I'(item + ITEM_BITS'(1))];
                    if (last_item) state <= S_TILE_END;
                end
            end
            S_TILE_END: begin
                tile <= tile + 1;
                state <= tile + 1 == tiles ? S_LAYER_END : S_COLUMNS;
            end
            S_LAYER_END: begin
                layer <= layer + 1;
                state <= layer + 1 == layers ? S_END : S_LENGTH;
            end
            default: {stopped, done} <= 2'b11;
        endcase
    end
endmodule
