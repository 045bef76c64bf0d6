// A table of canonical Huffman codes: read from a weight stream, then one number in a cycle. docs/stream.md of tightc has
// its form. Numbers have up to 15 bits here.
module code_table (
    input  logic        clock,
    input  logic        reset,
    input  logic        start,   // read the table
    input  logic [31:0] window,
    input  logic        ready,
    output logic [5:0]  used,    // while it is read
    output logic        busy,
    output logic        wrong,   // no complete code, or larger numbers
    output logic [15:0] value,   // the number at the front of the window
    output logic [5:0]  length   // its bits
);
    localparam LONGEST = 15;
    localparam BASE = 3'd1, SIZES = 3'd2, FIRST = 3'd3, STEP = 3'd4, OFFSETS = 3'd5, SORT = 3'd6;
    logic [2:0] state;
    logic [3:0] lengths [0:255];
    logic [7:0] tokens  [0:255];  // in the order of their codes
    logic [8:0] counts  [0:15];   // codes of each length
    logic [8:0] places  [0:15];   // of the next token of that length
    logic [15:0] firsts [0:15];   // first code of each length
    logic [15:0] base;
    logic [3:0]  raw;
    logic [8:0]  size, token;
    logic [3:0]  last_length;
    assign busy = state != 0;

    // reading
    logic [15:0] gamma;
    logic [5:0]  gamma_used;
    logic        gamma_wrong;
    gamma_reader gamma_reader (.window(window), .number(gamma), .used(gamma_used), .wrong(gamma_wrong));
    logic [2:0]  head;
    logic [3:0]  first_length, given_length;
    logic [4:0]  stepped;
    logic [5:0]  step_used;
    assign {head, first_length, given_length} = {window[31:29], window[31:28], window[29:26]};
    always_comb begin
        {stepped, step_used} = {1'b0, last_length, 6'd1};
        if (head == 3'b100) {stepped, step_used} = {{1'b0, last_length} + 5'd1, 6'd3};
        else if (head == 3'b101) {stepped, step_used} = {{1'b0, last_length} - 5'd1, 6'd3};
        else if (head >= 3'b110) {stepped, step_used} = {1'b0, given_length, 6'd6};
        if (state == FIRST) {stepped, step_used} = {1'b0, first_length, 6'd4};
        used = 0;
        if (ready) begin
            if (state == BASE) used = gamma_used;
            if (state == SIZES) used = 14;
            if (state == FIRST || state == STEP) used = step_used;
        end
    end

    // where codes and tokens of each length begin, and how much of all codes is taken
    logic [15:0] first_codes [0:15];
    logic [8:0]  first_places [0:15];
    logic [16:0] taken;
    always_comb begin
        {first_codes[0], first_places[0], taken} = 0;
        {first_codes[1], first_places[1]} = 0;
        for (int l = 2; l <= LONGEST; l = l + 1) begin
            first_codes[l] = (first_codes[l-1] + 16'(counts[l-1])) << 1;
            first_places[l] = first_places[l-1] + counts[l-1];
        end
        for (int l = 1; l <= LONGEST; l = l + 1) taken = taken + (17'(counts[l]) << (LONGEST - l));
    end

    // decoding
    logic [7:0]  place;
    logic [15:0] offset;
    logic        found;
    logic [5:0]  code_bits;
    logic [31:0] behind;
    always_comb begin
        {place, offset, found, code_bits} = 0;
        for (int l = 1; l <= LONGEST; l = l + 1) begin
            offset = 16'(window >> (32 - l)) - firsts[l];
            if (!found && size != 1 && offset < 16'(counts[l])) begin
                found = 1;
                code_bits = 6'(l);
                place = 8'(first_places[l] + 9'(offset));
            end
        end
        behind = window << code_bits;
        value = base + ((size == 1 ? 16'd0 : 16'(tokens[place])) << raw) + 16'(behind >> (6'd32 - 6'(raw)));
        length = code_bits + 6'(raw);
    end

    always_ff @(posedge clock) begin
        wrong <= 0;
        if (reset) state <= 0;
        else if (start) state <= BASE;
        else case (state)
            BASE: if (ready) begin
                base <= gamma;
                wrong <= gamma_wrong || gamma[15];
                state <= SIZES;
                for (int l = 0; l <= LONGEST; l = l + 1) counts[l] <= 0;
            end
            SIZES: if (ready) begin
                raw <= window[29:26];
                size <= {1'b0, window[25:18]} + 1;
                token <= 0;
                wrong <= window[31:30] != 0;
                state <= window[25:18] == 0 ? 3'd0 : FIRST;
            end
            FIRST, STEP: if (ready) begin
                lengths[token[7:0]] <= stepped[3:0];
                last_length <= stepped[3:0];
                wrong <= stepped[4];
                if (stepped[3:0] != 0) counts[stepped[3:0]] <= counts[stepped[3:0]] + 1;
                token <= token + 1;
                state <= token + 1 == size ? OFFSETS : STEP;
            end
            OFFSETS: begin
                for (int l = 1; l <= LONGEST; l = l + 1) begin
                    firsts[l] <= first_codes[l];
                    places[l] <= first_places[l];
                end
                wrong <= taken != 17'(1 << LONGEST);
                token <= 0;
                state <= SORT;
            end
            SORT: begin
                if (lengths[token[7:0]] != 0) begin
                    tokens[places[lengths[token[7:0]]][7:0]] <= token[7:0];
                    places[lengths[token[7:0]]] <= places[lengths[token[7:0]]] + 1;
                end
                token <= token + 1;
                if (token + 1 == size) state <= 0;
            end
            default: state <= 0;
        endcase
    end
endmodule
