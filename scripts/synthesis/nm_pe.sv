// Processing element of an N:M pattern: a lane carries a group of M inputs, N weights of a filter pick one of them
// each, and the products are added to one sum. With N = 1 it is pe.sv with a fan-in of M.
module nm_pe #(
    parameter N = 2,
    parameter M = 8,
    parameter LANE_REGISTER = 1,
    parameter SUM_BITS = 32,
    parameter SELECT_BITS = $clog2(M) + 1
) (
    input  logic                       clock,
    input  logic                       load,
    input  logic [8*N-1:0]             slots_below,
    input  logic [SELECT_BITS*N-1:0]   selects_below,
    output logic [8*N-1:0]             slots_above,
    output logic [SELECT_BITS*N-1:0]   selects_above,
    input  logic [8*M-1:0]             lane_left,
    output logic [8*M-1:0]             lane_right,
    input  logic signed [SUM_BITS-1:0] sum_above,
    output logic signed [SUM_BITS-1:0] sum_below
);
    always_ff @(posedge clock) if (load) {slots_above, selects_above} <= {slots_below, selects_below};
    genvar i;
    generate
        if (LANE_REGISTER != 0) begin : g_register
            always_ff @(posedge clock) lane_right <= lane_left;
        end else begin : g_wire
            assign lane_right = lane_left;
        end
    endgenerate
    logic signed [SUM_BITS-1:0] partial [0:N];
    assign partial[0] = sum_above;
    generate
        for (i = 0; i < N; i = i + 1) begin : g_weight
            logic signed [7:0]  chosen;
            logic signed [15:0] product;
            multiplexer #(.FAN_IN(M)) multiplexer (
                .select(selects_above[SELECT_BITS*i +: SELECT_BITS]), .inputs(lane_left), .chosen(chosen)
            );
            assign product = chosen * $signed(slots_above[8*i +: 8]);
            assign partial[i+1] = partial[i] + SUM_BITS'(product);
        end
    endgenerate
    always_ff @(posedge clock) sum_below <= partial[N];
endmodule
