// Picks one of FAN_IN bytes, or 0 where none is selected.
module multiplexer #(
    parameter FAN_IN = 1,
    parameter ONE_HOT = 0,
    parameter SELECT_BITS = ONE_HOT != 0 ? FAN_IN : $clog2(FAN_IN) + 1
) (
    input  logic [SELECT_BITS-1:0] select,
    input  logic [8*FAN_IN-1:0]    inputs,
    output logic signed [7:0]      chosen
);
    genvar i, b;
    generate
        if (FAN_IN == 1) begin : g_single
            assign chosen = inputs & {8{select[0]}};
        end else if (ONE_HOT != 0) begin : g_one_hot
            // each bit is the OR over all inputs of that bit and the input's select
            for (b = 0; b < 8; b = b + 1) begin : g_bit
                logic [FAN_IN-1:0] gated;
                for (i = 0; i < FAN_IN; i = i + 1) begin : g_input
                    assign gated[i] = inputs[8*i+b] & select[i];
                end
                assign chosen[b] = |gated;
            end
        end else begin : g_tree
            localparam LEVELS = $clog2(FAN_IN);
            logic [8*2**LEVELS-1:0] padded;
            assign padded = (8*2**LEVELS)'(inputs);
            assign chosen = padded[8*select[LEVELS-1:0] +: 8] & {8{select[LEVELS]}};
        end
    endgenerate
endmodule
