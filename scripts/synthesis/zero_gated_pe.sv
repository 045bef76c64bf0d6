// A dense processing element that holds its multiplier's operands where the weight or the activation is 0: the sum then
// passes on unchanged. A flag that travels with the lane's byte says that it is not 0. The held operand is a register
// of its own, since the lane's register has to move on; so a product is added a cycle later than in pe.sv.
module zero_gated_pe #(
    parameter LANE_REGISTER = 1,
    parameter SUM_BITS = 32
) (
    input  logic                       clock,
    input  logic                       load,
    input  logic signed [7:0]          slot_below,
    output logic signed [7:0]          slot_above,
    input  logic [8:0]                 lane_left,  // {not 0, byte}
    output logic [8:0]                 lane_right,
    input  logic signed [SUM_BITS-1:0] sum_above,
    output logic signed [SUM_BITS-1:0] sum_below
);
    logic signed [7:0] slot, operand;
    logic              used, adds;
    assign slot_above = slot;
    assign used = lane_left[8] && slot != 0;
    always_ff @(posedge clock) begin
        if (load) slot <= slot_below;
        if (used) operand <= lane_left[7:0];
        adds <= used;
    end
    generate
        if (LANE_REGISTER != 0) begin : g_register
            always_ff @(posedge clock) lane_right <= lane_left;
        end else begin : g_wire
            assign lane_right = lane_left;
        end
    endgenerate
    logic signed [15:0] product;
    assign product = operand * slot;
    always_ff @(posedge clock) sum_below <= sum_above + (adds ? SUM_BITS'(product) : 0);
endmodule
