// Finds the lane of each input of a tile: of the open lanes with room and a new one, the one with a given rank. A lane has
// room that carries fewer inputs than the fan-in, and none with a slot in a column of the input.
module lane_placer #(
    parameter ROWS = 8,
    parameter COLUMNS = 8,
    parameter FAN_IN = 1,
    parameter LANE_BITS = $clog2(ROWS) + 1,
    parameter PLACE_BITS = $clog2(FAN_IN) + 1
) (
    input  logic                  clock,
    input  logic                  clear,    // a tile begins
    input  logic [COLUMNS-1:0]    columns,  // of the input's slots
    input  logic [LANE_BITS-1:0]  rows,     // that a tile has
    input  logic [PLACE_BITS-1:0] fan_in,
    input  logic [LANE_BITS-1:0]  rank,
    input  logic                  put,      // the input goes to `lane`
    output logic [LANE_BITS-1:0]  options,  // possible lanes
    output logic [LANE_BITS-1:0]  lane,
    output logic [PLACE_BITS-1:0] place     // inputs that it carries
);
    logic [LANE_BITS-1:0]       opened;
    logic [ROWS-1:0]            possible;
    logic [PLACE_BITS*ROWS-1:0] carried;
    genvar r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_lane
            logic [COLUMNS-1:0]    taken;
            logic [PLACE_BITS-1:0] count;
            assign possible[r] = r < rows && r < 32'(opened) + 1 && count < fan_in && (taken & columns) == 0;
            assign carried[PLACE_BITS*r +: PLACE_BITS] = count;
            always_ff @(posedge clock) begin
                if (clear) {taken, count} <= 0;
                else if (put && lane == r) begin
                    taken <= taken | columns;
                    count <= count + 1;
                end
            end
        end
    endgenerate
    always_comb begin
        {options, lane, place} = 0;
        for (int i = 0; i < ROWS; i = i + 1) begin
            if (possible[i] && options == rank) begin
                lane = LANE_BITS'(i);
                place = carried[PLACE_BITS*i +: PLACE_BITS];
            end
            options = options + LANE_BITS'(possible[i]);
        end
    end
    always_ff @(posedge clock) begin
        if (clear) opened <= 0;
        else if (put && lane == opened) opened <= opened + 1;
    end
endmodule
