// Feeds one lane: turns the window of a step into the addresses of the lane's inputs, and what the buffer returns into
// the bytes at the edge of the array. An input outside the feature map is the zero point.
//
// An entry of the lane's list: {used, x, y, offset}, 1 + 15 + 16 + 32 bits: where in the window the input lies, and
// its address less that of the window's corner. With SHADOW there is a second list, as there are second slots.
module lane_feeder #(
    parameter FAN_IN = 1,
    parameter SHADOW = 0
) (
    input  logic                 clock,
    input  logic                 load,
    input  logic                 swap,
    input  logic [64*FAN_IN-1:0] list,
    input  logic                 valid,       // a step enters the lane
    input  logic        [31:0]   corner,
    input  logic signed [15:0]   y, x,
    input  logic        [15:0]   height, width,
    input  logic        [7:0]    zero_point,
    output logic [FAN_IN-1:0]    read,
    output logic [32*FAN_IN-1:0] addresses,
    input  logic [8*FAN_IN-1:0]  bytes,
    output logic [8*FAN_IN-1:0]  lane
);
    logic [64*FAN_IN-1:0] entries;
    generate
        if (SHADOW != 0) begin : g_shadow
            logic [64*FAN_IN-1:0] next_entries;
            always_ff @(posedge clock) if (load) next_entries <= list;
            always_ff @(posedge clock) if (swap) entries <= load ? list : next_entries;
        end else begin : g_plain
            logic unused;
            assign unused = swap;
            always_ff @(posedge clock) if (load) entries <= list;
        end
    endgenerate

    genvar i;
    generate
        for (i = 0; i < FAN_IN; i = i + 1) begin : g_input
            logic used, on_map;
            logic [14:0] right;
            logic [15:0] down;
            logic [31:0] offset;
            logic signed [17:0] at_y, at_x;
            assign {used, right, down, offset} = entries[64*i +: 64];
            assign at_y = 18'(y) + $signed({2'b00, down});
            assign at_x = 18'(x) + $signed({3'b000, right});
            assign on_map = at_y >= 0 && at_y < $signed({2'b00, height})
                         && at_x >= 0 && at_x < $signed({2'b00, width});
            assign read[i] = valid && used && on_map;
            assign addresses[32*i +: 32] = corner + offset;
            assign lane[8*i +: 8] = !(valid && used) ? 8'd0 : on_map ? bytes[8*i +: 8] : zero_point;
        end
    endgenerate
endmodule
