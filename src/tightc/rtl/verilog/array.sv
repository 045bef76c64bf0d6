// ROWS lanes by COLUMNS of processing elements. Every COLUMNS_PER_REGISTER columns, a lane's inputs are registered; so
// are the swaps, with OVERLAP, so that they travel a cycle ahead of the first step of their tile.
module array #(
    parameter ROWS = 8,
    parameter COLUMNS = 8,
    parameter FAN_IN = 1,
    parameter ONE_HOT = 0,
    parameter COLUMNS_PER_REGISTER = 1,
    parameter SHADOW = 0,
    parameter OVERLAP = 0,
    parameter SUBWORD_BITS = 0,
    parameter SUM_BITS = 32,
    parameter SLOT_BITS = SUBWORD_BITS == 0 ? 8 : SUBWORD_BITS + 1 + $clog2(8 / SUBWORD_BITS),
    parameter SELECT_BITS = ONE_HOT != 0 ? FAN_IN : $clog2(FAN_IN) + 1
) (
    input  logic                           clock,
    input  logic [COLUMNS-1:0]             load,     // of each column
    input  logic [COLUMNS*SLOT_BITS-1:0]   slots,    // that enter at the bottom
    input  logic [COLUMNS*SELECT_BITS-1:0] selects,
    input  logic [ROWS-1:0]                swap,     // at the left edge of each row
    input  logic [ROWS*8*FAN_IN-1:0]       lanes,    // at the left edge
    output logic [COLUMNS*SUM_BITS-1:0]    sums      // at the bottom
);
    localparam SWAP_HOPS = OVERLAP != 0 ? (COLUMNS - 1) / COLUMNS_PER_REGISTER : 0;
    // wires between elements: [row][column], with the edge at column 0, and at row 0 for sums or ROWS for slots
    logic [8*FAN_IN-1:0]    lane   [0:ROWS*(COLUMNS+1)-1];
    logic [SUM_BITS-1:0]    sum    [0:(ROWS+1)*COLUMNS-1];
    logic [SLOT_BITS-1:0]   slot   [0:(ROWS+1)*COLUMNS-1];
    logic [SELECT_BITS-1:0] select [0:(ROWS+1)*COLUMNS-1];

    genvar r, c;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_left
            assign lane[r*(COLUMNS+1)] = lanes[r*8*FAN_IN +: 8*FAN_IN];
        end
        for (c = 0; c < COLUMNS; c = c + 1) begin : g_ends
            assign sum[c] = 0;
            assign sums[c*SUM_BITS +: SUM_BITS] = sum[ROWS*COLUMNS+c];
            assign slot[ROWS*COLUMNS+c] = slots[c*SLOT_BITS +: SLOT_BITS];
            assign select[ROWS*COLUMNS+c] = selects[c*SELECT_BITS +: SELECT_BITS];
        end
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            logic [SWAP_HOPS:0] swaps;
            delay #(.WIDTH(1), .STAGES(SWAP_HOPS)) wave (.clock(clock), .in(swap[r]), .taps(swaps));
            for (c = 0; c < COLUMNS; c = c + 1) begin : g_column
                localparam REGISTER = c % COLUMNS_PER_REGISTER == COLUMNS_PER_REGISTER - 1 ? 1 : 0;
                pe #(
                    .FAN_IN(FAN_IN), .ONE_HOT(ONE_HOT), .LANE_REGISTER(REGISTER), .SHADOW(SHADOW),
                    .SUBWORD_BITS(SUBWORD_BITS), .SUM_BITS(SUM_BITS)
                ) pe (
                    .clock(clock), .load(load[c]), .swap(swaps[OVERLAP != 0 ? c / COLUMNS_PER_REGISTER : 0]),
                    .slot_below(slot[(r+1)*COLUMNS+c]), .select_below(select[(r+1)*COLUMNS+c]),
                    .slot_above(slot[r*COLUMNS+c]), .select_above(select[r*COLUMNS+c]),
                    .lane_left(lane[r*(COLUMNS+1)+c]), .lane_right(lane[r*(COLUMNS+1)+c+1]),
                    .sum_above(sum[r*COLUMNS+c]), .sum_below(sum[(r+1)*COLUMNS+c])
                );
            end
        end
    endgenerate
endmodule
