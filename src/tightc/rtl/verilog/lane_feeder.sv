// Feeds one lane: turns the window of a step into the addresses of the lane's inputs, and what the buffer returns into
// the bytes at the edge of the array. An input outside the feature map is the zero point.
//
// An entry of the lane's list: {used, x, y, offset}: where in the window the input lies, and its address less that of
// the window's corner. In memory it has 1 + 15 + 16 + 32 bits; here as many as the feature maps of a network need.
// With SHADOW there is a second list, as there are second slots.
module lane_feeder #(
    parameter FAN_IN = 1,
    parameter SHADOW = 0,
    parameter ADDRESS_BITS = 32,  // of the activation buffer
    parameter SIDE_BITS = 15      // of the sides of windows and of maps with their padding
) (
    input  logic                           clock,
    input  logic                           load,
    input  logic                           swap,
    input  logic [64*FAN_IN-1:0]           list,
    input  logic                           valid,  // a step enters the lane
    input  logic        [ADDRESS_BITS-1:0] corner,
    input  logic signed [SIDE_BITS:0]      y, x,
    input  logic        [SIDE_BITS-1:0]    height, width,
    input  logic        [7:0]              zero_point,
    output logic [FAN_IN-1:0]              read,
    output logic [ADDRESS_BITS*FAN_IN-1:0] addresses,
    input  logic [8*FAN_IN-1:0]            bytes,
    output logic [8*FAN_IN-1:0]            lane
);
    localparam ENTRY_BITS = 1 + 2 * SIDE_BITS + ADDRESS_BITS;
    logic [ENTRY_BITS*FAN_IN-1:0] entries_in, entries;
    genvar i;
    generate
        for (i = 0; i < FAN_IN; i = i + 1) begin : g_entry
            logic unused;
            assign unused = ^list[64*i +: 64];  // the bits above those that the maps need are 0
            assign entries_in[ENTRY_BITS*i +: ENTRY_BITS] = {
                list[64*i+63], list[64*i+48 +: SIDE_BITS], list[64*i+32 +: SIDE_BITS], list[64*i +: ADDRESS_BITS]
            };
        end
        if (SHADOW != 0) begin : g_shadow
            logic [ENTRY_BITS*FAN_IN-1:0] next_entries;
            always_ff @(posedge clock) if (load) next_entries <= entries_in;
            always_ff @(posedge clock) if (swap) entries <= load ? entries_in : next_entries;
        end else begin : g_plain
            logic unused;
            assign unused = swap;
            always_ff @(posedge clock) if (load) entries <= entries_in;
        end
        for (i = 0; i < FAN_IN; i = i + 1) begin : g_input
            logic used, on_map;
            logic [SIDE_BITS-1:0] right, down;
            logic [ADDRESS_BITS-1:0] offset;
            logic signed [SIDE_BITS+1:0] at_y, at_x;
            assign {used, right, down, offset} = entries[ENTRY_BITS*i +: ENTRY_BITS];
            assign at_y = (SIDE_BITS+2)'(y) + $signed({2'b00, down});
            assign at_x = (SIDE_BITS+2)'(x) + $signed({2'b00, right});
            assign on_map = at_y >= 0 && at_y < $signed({2'b00, height})
                         && at_x >= 0 && at_x < $signed({2'b00, width});
            assign read[i] = valid && used && on_map;
            assign addresses[ADDRESS_BITS*i +: ADDRESS_BITS] = corner + offset;
            assign lane[8*i +: 8] = !(valid && used) ? 8'd0 : on_map ? bytes[8*i +: 8] : zero_point;
        end
    endgenerate
endmodule
