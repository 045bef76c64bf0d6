// Runs the decoder on the image in image.hex, and says what comes out: a line for each column, lane input, slot and layer.
module stream_testbench #(
    parameter ROWS = 8,
    parameter COLUMNS = 8,
    parameter FAN_IN = 1,
    parameter FILTERS = 64,
    parameter INPUTS = 1024,
    parameter WORDS = 1,      // of the image
    parameter STEPS = 4,
    parameter QUIET = 0,      // only the last line
    parameter MOST_CYCLES = 10000000
);
    localparam ADDRESS_BITS = $clog2(WORDS) + 1;
    logic [31:0] image [0:WORDS-1];
    initial $readmemh("image.hex", image);

    logic                    clock, reset, column_valid, lane_valid, slot_valid, layer_done, done;
    logic [ADDRESS_BITS-1:0] address;
    logic [31:0]             word;
    logic [15:0]             layer, tile, column, filter, input_name;
    logic [$clog2(ROWS):0]   lane;
    logic [$clog2(FAN_IN):0] place;
    logic signed [7:0]       weight;
    logic [2:0]              error;
    assign word = 32'(address) < WORDS ? image[$clog2(WORDS)'(address)] : 0;
    stream_decoder #(
        .ROWS(ROWS), .COLUMNS(COLUMNS), .FAN_IN(FAN_IN), .FILTERS(FILTERS), .INPUTS(INPUTS),
        .ADDRESS_BITS(ADDRESS_BITS), .STEPS(STEPS)
    ) decoder (
        .clock(clock), .reset(reset), .address(address), .word(word), .layer(layer), .tile(tile),
        .column_valid(column_valid), .lane_valid(lane_valid), .slot_valid(slot_valid), .column(column), .filter(filter),
        .lane(lane), .place(place), .input_name(input_name), .weight(weight), .layer_done(layer_done), .done(done),
        .error(error)
    );

    int cycles = 0;
    initial begin
        clock = 0;
        reset = 1;
        #1 clock = 1;
        #1 {clock, reset} = 0;
        while (!done && error == 0 && cycles < MOST_CYCLES) begin
            #1;
            if (QUIET == 0) begin
                if (column_valid) $display("column %0d %0d %0d %0d", layer, tile, column, filter);
                if (lane_valid) $display("lane %0d %0d %0d %0d %0d", layer, tile, lane, place, input_name);
                if (slot_valid)
                    $display("slot %0d %0d %0d %0d %0d %0d", layer, tile, lane, column, place, weight);
                if (layer_done) $display("layer %0d", layer);
            end
            clock = 1;
            cycles = cycles + 1;
            #1 clock = 0;
        end
        if (done) $display("done after %0d cycles", cycles);
        else $display("error %0d in layer %0d after %0d cycles", error, layer, cycles);
        $finish;
    end
endmodule
