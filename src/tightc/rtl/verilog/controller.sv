// Walks the tiles of a layer: loads each into the array, then streams the layer's steps through it.
//
// A tile whose first step enters in cycle s is swapped in during cycle s - 1. Its last step has left the array
// STEPS + ROWS - 1 + HOPS cycles after s. The next tile is loaded
//   without SHADOW             when the array is empty;
//   with SHADOW                from cycle s on, and starts when the array is empty;
//   with SHADOW and OVERLAP    from cycle s + ROWS - 1 on, when the bottom row has been swapped, and starts as soon as
//                              it is loaded and the last step has entered.
module controller #(
    parameter ROWS = 8,
    parameter HOPS = 7,  // registers that a lane passes on its way to the last column
    parameter SHADOW = 0,
    parameter OVERLAP = 0
) (
    input  logic        clock,
    input  logic        reset,
    input  logic        go,           // start a layer in the next cycle
    input  logic [31:0] tiles,        // of the layer
    input  logic [31:0] steps,
    output logic        load,         // a row of a tile enters the array
    output logic [31:0] load_tile,
    output logic [31:0] load_row,
    output logic        swap,         // the loaded tile starts in the next cycle
    output logic        step_valid,   // a step enters the first row
    output logic        step_first,   // the first one of its tile
    output logic        done          // the last sum of the layer leaves the array in this cycle
);
    localparam DRAIN = ROWS - 1 + HOPS;

    // loading
    logic        pending;             // a tile is to be loaded, or being loaded
    logic        loaded;              // it is complete and has not started
    logic [31:0] waiting;             // cycles until its first row may enter
    logic        last_row, ready;
    assign load = pending && waiting == 0;
    assign last_row = load && load_row == ROWS - 1;
    assign ready = loaded || last_row;

    // streaming
    logic        active;              // steps are entering or leaving
    logic [31:0] elapsed;             // cycles since the first step of this tile
    logic [31:0] started;             // tiles of the layer that have started
    logic        entered, empty;
    assign step_valid = active && elapsed < steps;
    assign step_first = active && elapsed == 0;
    assign entered = !active || elapsed + 1 >= steps;
    assign empty = !active || elapsed + 1 == steps + DRAIN;
    assign swap = ready && (OVERLAP != 0 ? entered : empty);
    assign done = active && empty && !swap && started == tiles;

    always_ff @(posedge clock) begin
        if (reset) begin
            {pending, loaded, active} <= 0;
            {waiting, load_tile, load_row, elapsed, started} <= 0;
        end else if (go) begin
            {pending, loaded, active} <= {tiles != 0, 2'b00};
            {waiting, load_tile, load_row, elapsed, started} <= 0;
        end else begin
            if (load) load_row <= last_row ? 0 : load_row + 1;
            if (pending && waiting != 0) waiting <= waiting - 1;
            if (last_row) begin
                pending <= 0;
                load_tile <= load_tile + 1;
            end
            loaded <= ready && !swap;
            if (swap) begin
                {active, elapsed} <= {1'b1, 32'd0};
                started <= started + 1;
            end else if (active) begin
                elapsed <= elapsed + 1;
                if (empty) active <= 0;
            end
            // where the next tile goes is free: its registers by a swap, or the array itself when it is empty
            if (SHADOW != 0 ? swap : active && empty) begin
                pending <= started + (SHADOW != 0 ? 1 : 0) != tiles;
                waiting <= OVERLAP != 0 ? ROWS - 1 : 0;
            end
        end
    end
endmodule
