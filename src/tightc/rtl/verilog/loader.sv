// Brings the tiles to the array: a row of slots and selects in each cycle, the lowest of the array last, and with the
// first row the entries of the columns for the accumulators. It holds the memories of the tiles.
//
// With OVERLAP, a column is loaded when its swaps have passed: as much later as its lane registers are.
module loader #(
    parameter ROWS = 8,
    parameter COLUMNS = 8,
    parameter FAN_IN = 1,
    parameter ONE_HOT = 0,
    parameter COLUMNS_PER_REGISTER = 1,
    parameter OVERLAP = 0,
    parameter SUBWORD_BITS = 0,
    parameter TILES = 1,
    parameter SLOT_BITS = SUBWORD_BITS == 0 ? 8 : SUBWORD_BITS + 1 + $clog2(8 / SUBWORD_BITS),
    parameter SELECT_BITS = ONE_HOT != 0 ? FAN_IN : $clog2(FAN_IN) + 1
) (
    input  logic                           clock,
    input  logic                           load,
    input  logic [31:0]                    tile,
    input  logic [31:0]                    row,
    output logic [COLUMNS-1:0]             load_columns,
    output logic [COLUMNS*SLOT_BITS-1:0]   slots,
    output logic [COLUMNS*SELECT_BITS-1:0] selects,
    output logic [COLUMNS-1:0]             load_entries,
    output logic [32*COLUMNS-1:0]          entries
);
    localparam HOPS = (COLUMNS - 1) / COLUMNS_PER_REGISTER;
    localparam NUMBER_BITS = $clog2(FAN_IN) + 1;  // of a select in memory: {used, number}
    localparam PLACE_BITS = TILES * ROWS * COLUMNS > 1 ? $clog2(TILES * ROWS * COLUMNS) : 1;
    localparam COLUMN_BITS = TILES * COLUMNS > 1 ? $clog2(TILES * COLUMNS) : 1;
    localparam REQUEST_BITS = 65;  // {a row enters, its tile, its number in the tile}

    logic [SLOT_BITS-1:0]   slot_memory   [0:TILES*ROWS*COLUMNS-1];
    logic [NUMBER_BITS-1:0] select_memory [0:TILES*ROWS*COLUMNS-1];
    logic [31:0]            column_memory [0:TILES*COLUMNS-1];
    initial begin
        $readmemh("slots.hex", slot_memory);
        $readmemh("selects.hex", select_memory);
        $readmemh("columns.hex", column_memory);
    end

    logic [REQUEST_BITS*(HOPS+1)-1:0] requests;
    genvar c, i;
    generate
        if (OVERLAP != 0) begin : g_wave
            delay #(.WIDTH(REQUEST_BITS), .STAGES(HOPS)) right (
                .clock(clock), .in({load, tile, row}), .taps(requests)
            );
        end else begin : g_at_once
            logic unused;
            assign unused = clock;
            assign requests = {(HOPS + 1){load, tile, row}};
        end
        for (c = 0; c < COLUMNS; c = c + 1) begin : g_column
            logic [31:0] tile_here, row_here;
            logic [PLACE_BITS-1:0] place;
            logic [NUMBER_BITS-1:0] select;
            assign {load_columns[c], tile_here, row_here} =
                requests[REQUEST_BITS*(c/COLUMNS_PER_REGISTER) +: REQUEST_BITS];
            assign place = PLACE_BITS'((tile_here * ROWS + row_here) * COLUMNS + c);
            assign slots[SLOT_BITS*c +: SLOT_BITS] = slot_memory[place];
            assign select = select_memory[place];
            assign load_entries[c] = load_columns[c] && row_here == 0;
            assign entries[32*c +: 32] = column_memory[COLUMN_BITS'(tile_here * COLUMNS + c)];
            if (ONE_HOT == 0) begin : g_number
                assign selects[SELECT_BITS*c +: SELECT_BITS] = select;
            end else if (FAN_IN == 1) begin : g_used
                assign selects[c] = select[0];
            end else begin : g_decoded
                for (i = 0; i < FAN_IN; i = i + 1) begin : g_bit
                    assign selects[SELECT_BITS*c + i] = select == NUMBER_BITS'(2**(NUMBER_BITS-1) + i);
                end
            end
        end
    endgenerate
endmodule
