// The accelerator: a controller, an array, a feeder for each lane, accumulators, and a requantizer for each column, with
// the memories that they read. README.txt names the files that fill the memories.
//
// The buffers are ideal: as many reads and writes in a cycle as the array asks for.
module accelerator #(
    parameter ROWS = 8,
    parameter COLUMNS = 8,
    parameter FAN_IN = 1,
    parameter ONE_HOT = 0,
    parameter COLUMNS_PER_REGISTER = 1,
    parameter SHADOW = 0,
    parameter OVERLAP = 0,
    parameter BYPASS = 0,
    parameter SUBWORD_BITS = 0,
    parameter SUM_BITS = 32,
    parameter LAYERS = 1,
    parameter TILES = 1,        // of all layers
    parameter FILTERS = 1,      // of all layers
    parameter ACTIVATIONS = 1,  // bytes that all layers read
    parameter SIDE_BITS = 15,   // of the sides of windows and of maps with their padding
    parameter PARTIAL_SUMS = 1  // of the largest layer
) (
    input  logic                        clock,
    input  logic                        reset,
    input  logic                        go,
    input  logic [31:0]                 layer,
    output logic                        swap,   // a tile starts in the next cycle
    output logic                        done,   // the last sum of the layer leaves the array in this cycle
    output logic [COLUMNS-1:0]          complete,
    output logic [32*COLUMNS-1:0]       complete_place,  // among the outputs of all layers
    output logic [COLUMNS*SUM_BITS-1:0] complete_sum,
    output logic [8*COLUMNS-1:0]        complete_byte
);
    localparam HOPS = (COLUMNS - 1) / COLUMNS_PER_REGISTER;
    localparam SLOT_BITS = SUBWORD_BITS == 0 ? 8 : SUBWORD_BITS + 1 + $clog2(8 / SUBWORD_BITS);
    localparam SELECT_BITS = ONE_HOT != 0 ? FAN_IN : $clog2(FAN_IN) + 1;
    localparam WORDS = 24;  // of a layer's record
    localparam LANE_BITS = TILES * ROWS * FAN_IN > 1 ? $clog2(TILES * ROWS * FAN_IN) : 1;
    localparam FILTER_BITS = FILTERS > 1 ? $clog2(FILTERS) : 1;
    localparam ADDRESS_BITS = ACTIVATIONS > 1 ? $clog2(ACTIVATIONS) : 1;

    // the images
    logic [31:0] layers      [0:LAYERS*WORDS-1];
    logic [63:0] lanes       [0:TILES*ROWS*FAN_IN-1];
    logic [31:0] multipliers [0:FILTERS-1];
    logic [63:0] offsets     [0:FILTERS-1];
    logic [5:0]  shifts      [0:FILTERS-1];
    logic [7:0]  activations [0:ACTIVATIONS-1];
    initial begin
        $readmemh("layers.hex", layers);
        $readmemh("lanes.hex", lanes);
        $readmemh("multipliers.hex", multipliers);
        $readmemh("offsets.hex", offsets);
        $readmemh("shifts.hex", shifts);
        $readmemh("activations.hex", activations);
    end

    // the record of the layer
    logic [31:0] record [0:WORDS-1];
    genvar r, c, i;
    generate
        for (i = 0; i < WORDS; i = i + 1) begin : g_record
            assign record[i] = layers[$clog2(LAYERS * WORDS)'(layer * WORDS + i)];
        end
    endgenerate
    logic        [31:0]             tiles, first_tile, steps, filters, first_filter, first_output;
    logic        [ADDRESS_BITS-1:0] first_corner, row_jump, image_jump;
    logic signed [SIDE_BITS:0]      first_y, first_x;
    logic        [SIDE_BITS:0]      stride_y, stride_x;
    logic        [31:0]             out_height, out_width;
    logic        [SIDE_BITS-1:0]    height, width;
    logic        [7:0]              zero_point, low, high;
    assign {tiles, first_tile, steps, filters} = {record[0], record[1], record[2], record[3]};
    assign {first_filter, first_output} = {record[4], record[5]};
    assign first_corner = record[6][ADDRESS_BITS-1:0];
    assign {first_y, first_x} = {record[7][SIDE_BITS:0], record[8][SIDE_BITS:0]};
    assign {stride_y, stride_x} = {record[9][SIDE_BITS:0], record[10][SIDE_BITS:0]};
    assign {row_jump, image_jump} = {record[11][ADDRESS_BITS-1:0], record[12][ADDRESS_BITS-1:0]};
    assign {out_height, out_width} = {record[13], record[14]};
    assign {height, width} = {record[15][SIDE_BITS-1:0], record[16][SIDE_BITS-1:0]};
    assign {zero_point, low, high} = {record[17][7:0], record[18][7:0], record[19][7:0]};

    // the controller and the step that enters the first row
    logic        load, step_valid, step_first;
    logic [31:0] load_tile, load_row;
    controller #(.ROWS(ROWS), .HOPS(HOPS), .SHADOW(SHADOW), .OVERLAP(OVERLAP)) controller (
        .clock(clock), .reset(reset), .go(go), .tiles(tiles), .steps(steps), .load(load), .load_tile(load_tile),
        .load_row(load_row), .swap(swap), .step_valid(step_valid), .step_first(step_first), .done(done)
    );
    logic        [31:0]             step;
    logic        [ADDRESS_BITS-1:0] corner;
    logic signed [SIDE_BITS:0]      y, x;
    step_counter #(.ADDRESS_BITS(ADDRESS_BITS), .SIDE_BITS(SIDE_BITS)) step_counter (
        .clock(clock), .first(step_first), .valid(step_valid), .first_corner(first_corner),
        .first_y(first_y), .first_x(first_x), .stride_y(stride_y), .stride_x(stride_x), .row_jump(row_jump),
        .image_jump(image_jump), .out_height(out_height), .out_width(out_width), .corner(corner), .y(y), .x(x), .step(step)
    );

    // what travels with a step, a row further in each cycle; and the swap a cycle ahead of the first one
    localparam PLACE_BITS = ADDRESS_BITS + 2 * (SIDE_BITS + 1);  // {corner, y, x}
    localparam TOKEN_BITS = 2 + 32 + PLACE_BITS;
    logic [TOKEN_BITS*ROWS-1:0] tokens;
    logic [ROWS-1:0]            swap_rows;
    delay #(.WIDTH(TOKEN_BITS), .STAGES(ROWS - 1)) down (
        .clock(clock), .in({step_valid, step_first, step, corner, y, x}), .taps(tokens)
    );
    generate
        if (OVERLAP != 0) begin : g_swap_wave
            delay #(.WIDTH(1), .STAGES(ROWS - 1)) swaps (.clock(clock), .in(swap), .taps(swap_rows));
        end else begin : g_swap_at_once
            assign swap_rows = {ROWS{swap}};
        end
    endgenerate

    // the lanes
    logic [ROWS*FAN_IN*8-1:0] lane_bytes;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_lane
            logic                           valid;
            logic        [ADDRESS_BITS-1:0] corner_here;
            logic signed [SIDE_BITS:0]      y_here, x_here;
            assign {corner_here, y_here, x_here} = tokens[TOKEN_BITS*r +: PLACE_BITS];
            assign valid = tokens[TOKEN_BITS*r + TOKEN_BITS - 1];
            logic [64*FAN_IN-1:0] list;
            logic [FAN_IN-1:0]    read;
            logic [ADDRESS_BITS*FAN_IN-1:0] addresses;
            logic [8*FAN_IN-1:0]  bytes;
            for (i = 0; i < FAN_IN; i = i + 1) begin : g_input
                assign list[64*i +: 64] = lanes[LANE_BITS'(((first_tile + load_tile) * ROWS + r) * FAN_IN + i)];
                assign bytes[8*i +: 8] = read[i] ? activations[addresses[ADDRESS_BITS*i +: ADDRESS_BITS]] : 0;
            end
            lane_feeder #(
                .FAN_IN(FAN_IN), .SHADOW(SHADOW), .ADDRESS_BITS(ADDRESS_BITS), .SIDE_BITS(SIDE_BITS)
            ) feeder (
                .clock(clock), .load(load && load_row == r), .swap(swap_rows[r]), .list(list), .valid(valid),
                .corner(corner_here), .y(y_here), .x(x_here), .height(height), .width(width), .zero_point(zero_point),
                .read(read), .addresses(addresses), .bytes(bytes), .lane(lane_bytes[8*FAN_IN*r +: 8*FAN_IN])
            );
        end
    endgenerate

    // the tiles
    logic [COLUMNS-1:0]             load_columns, load_entries;
    logic [COLUMNS*SLOT_BITS-1:0]   slots;
    logic [COLUMNS*SELECT_BITS-1:0] selects;
    logic [32*COLUMNS-1:0]          entries;
    loader #(
        .ROWS(ROWS), .COLUMNS(COLUMNS), .FAN_IN(FAN_IN), .ONE_HOT(ONE_HOT),
        .COLUMNS_PER_REGISTER(COLUMNS_PER_REGISTER), .OVERLAP(OVERLAP), .SUBWORD_BITS(SUBWORD_BITS), .TILES(TILES)
    ) loader (
        .clock(clock), .load(load), .tile(first_tile + load_tile), .row(load_row), .load_columns(load_columns),
        .slots(slots), .selects(selects), .load_entries(load_entries), .entries(entries)
    );

    // the array
    logic [COLUMNS*SUM_BITS-1:0] sums;
    array #(
        .ROWS(ROWS), .COLUMNS(COLUMNS), .FAN_IN(FAN_IN), .ONE_HOT(ONE_HOT),
        .COLUMNS_PER_REGISTER(COLUMNS_PER_REGISTER), .SHADOW(SHADOW), .OVERLAP(OVERLAP), .SUBWORD_BITS(SUBWORD_BITS),
        .SUM_BITS(SUM_BITS)
    ) array (
        .clock(clock), .load(load_columns), .slots(slots), .selects(selects), .swap(swap_rows),
        .lanes(lane_bytes), .sums(sums)
    );

    // the accumulators: a sum comes out a cycle after its step was in the bottom row
    logic                   bottom_valid, bottom_first;
    logic [31:0]            bottom_step;
    logic [32:0]            leaving;
    logic [33*(HOPS+1)-1:0] out_hops;
    logic [HOPS:0]          swap_hops;
    logic [COLUMNS-1:0]     out_valid, out_swap;
    logic [32*COLUMNS-1:0]  out_step;
    assign {bottom_valid, bottom_first, bottom_step} = tokens[TOKEN_BITS*(ROWS-1) + PLACE_BITS +: 34];
    always_ff @(posedge clock) leaving <= {bottom_valid, bottom_step};
    delay #(.WIDTH(33), .STAGES(HOPS)) out (.clock(clock), .in(leaving), .taps(out_hops));
    generate
        if (OVERLAP != 0) begin : g_entries_wave  // when the first step is in the bottom row
            delay #(.WIDTH(1), .STAGES(HOPS)) right (
                .clock(clock), .in(bottom_valid && bottom_first), .taps(swap_hops)
            );
        end else begin : g_entries_at_once  // when the last sum of the tile before has come out
            logic swapped, unused;
            assign unused = bottom_first;
            always_ff @(posedge clock) swapped <= swap;
            assign swap_hops = {(HOPS + 1){swapped}};
        end
    endgenerate
    generate
        for (c = 0; c < COLUMNS; c = c + 1) begin : g_out
            assign {out_valid[c], out_step[32*c +: 32]} = out_hops[33*(c/COLUMNS_PER_REGISTER) +: 33];
            assign out_swap[c] = swap_hops[c/COLUMNS_PER_REGISTER];
        end
    endgenerate
    logic [32*COLUMNS-1:0] complete_filter, complete_step;
    accumulators #(.COLUMNS(COLUMNS), .SUM_BITS(SUM_BITS), .WORDS(PARTIAL_SUMS), .BYPASS(BYPASS)) accumulators (
        .clock(clock), .load(load_entries), .entries(entries), .swap(out_swap), .valid(out_valid), .steps(out_step),
        .filters(filters), .sums(sums), .complete(complete), .complete_filter(complete_filter),
        .complete_step(complete_step), .complete_sum(complete_sum)
    );

    // the requantizers
    generate
        for (c = 0; c < COLUMNS; c = c + 1) begin : g_requantizer
            logic [FILTER_BITS-1:0] filter;
            assign filter = FILTER_BITS'(first_filter + complete_filter[32*c +: 32]);
            requantizer #(.SUM_BITS(SUM_BITS)) requantizer (
                .sum(complete_sum[SUM_BITS*c +: SUM_BITS]), .multiplier(multipliers[filter]),
                .offset(offsets[filter]), .shift(shifts[filter]), .low(low), .high(high),
                .value(complete_byte[8*c +: 8])
            );
            assign complete_place[32*c +: 32] =
                first_output + complete_step[32*c +: 32] * filters + complete_filter[32*c +: 32];
        end
    endgenerate
endmodule
