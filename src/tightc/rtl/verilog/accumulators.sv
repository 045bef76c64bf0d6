// Adds the sums of a filter's parts, and hands on those that are complete. A column's entry says of the tile that runs:
// {used, first, last, filter}, 1 + 1 + 1 + 29 bits: whether the column has a filter, whether it is the first of the
// filter's parts, whether it is the last, and which filter it is.
//
// With BYPASS a complete sum leaves at once; without, it is written like the others and read again in the next cycle.
module accumulators #(
    parameter COLUMNS = 8,
    parameter SUM_BITS = 32,
    parameter WORDS = 1024,  // partial sums: steps x filters of the largest layer
    parameter BYPASS = 0
) (
    input  logic                        clock,
    input  logic [COLUMNS-1:0]          load,     // an entry comes for the next tile
    input  logic [32*COLUMNS-1:0]       entries,
    input  logic [COLUMNS-1:0]          swap,     // the next tile's sums come from the next cycle on
    input  logic [COLUMNS-1:0]          valid,    // a sum comes out of the array
    input  logic [32*COLUMNS-1:0]       steps,    // of which step
    input  logic [31:0]                 filters,  // of the layer
    input  logic [COLUMNS*SUM_BITS-1:0] sums,
    output logic [COLUMNS-1:0]          complete,
    output logic [32*COLUMNS-1:0]       complete_filter, complete_step,
    output logic [COLUMNS*SUM_BITS-1:0] complete_sum
);
    localparam ADDRESS_BITS = WORDS > 1 ? $clog2(WORDS) : 1;
    logic signed [SUM_BITS-1:0] partial [0:WORDS-1];

    // the entry of each column, and where its sum belongs
    logic [COLUMNS-1:0] used, first, last;
    logic [COLUMNS*ADDRESS_BITS-1:0] address;
    genvar c;
    generate
        for (c = 0; c < COLUMNS; c = c + 1) begin : g_column
            logic [31:0] entry, next_entry;
            logic [28:0] filter;
            assign {used[c], first[c], last[c], filter} = entry;
            assign address[ADDRESS_BITS*c +: ADDRESS_BITS] =
                ADDRESS_BITS'(steps[32*c +: 32] * filters + 32'(filter));
            always_ff @(posedge clock) begin
                if (swap[c]) entry <= next_entry;
                if (load[c]) next_entry <= entries[32*c +: 32];
                complete[c] <= valid[c] && used[c] && last[c];
                complete_filter[32*c +: 32] <= 32'(filter);
                complete_step[32*c +: 32] <= steps[32*c +: 32];
            end
        end
    endgenerate

    // columns that share a lane register may add to one word in one cycle: they do so one after the other, in order
    logic signed [SUM_BITS-1:0] total;
    integer i;
    /* verilator lint_off BLKSEQ */
    always @(posedge clock) begin
        for (i = 0; i < COLUMNS; i = i + 1) begin
            total = $signed(sums[SUM_BITS*i +: SUM_BITS]);
            if (!first[i]) total = total + partial[address[ADDRESS_BITS*i +: ADDRESS_BITS]];
            if (valid[i] && used[i] && !(BYPASS != 0 && last[i]))
                partial[address[ADDRESS_BITS*i +: ADDRESS_BITS]] = total;
            if (BYPASS != 0) complete_sum[SUM_BITS*i +: SUM_BITS] <= total;
        end
    end
    /* verilator lint_on BLKSEQ */
    generate
        if (BYPASS == 0) begin : g_read
            for (c = 0; c < COLUMNS; c = c + 1) begin : g_column
                logic [ADDRESS_BITS-1:0] written;
                always_ff @(posedge clock) written <= address[ADDRESS_BITS*c +: ADDRESS_BITS];
                assign complete_sum[SUM_BITS*c +: SUM_BITS] = partial[written];
            end
        end
    endgenerate
endmodule
