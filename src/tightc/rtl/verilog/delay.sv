// A chain of registers. Tap n is what came in n cycles ago; tap 0 is what comes in.
module delay #(
    parameter WIDTH = 1,
    parameter STAGES = 1
) (
    input  logic                        clock,
    input  logic [WIDTH-1:0]            in,
    output logic [WIDTH*(STAGES+1)-1:0] taps
);
    assign taps[WIDTH-1:0] = in;
    generate
        if (STAGES > 0) begin : g_registers
            logic [WIDTH*STAGES-1:0] registers;
            always_ff @(posedge clock) registers <= taps[WIDTH*STAGES-1:0];
            assign taps[WIDTH*(STAGES+1)-1:WIDTH] = registers;
        end else begin : g_wire
            logic unused;
            assign unused = clock;
        end
    endgenerate
endmodule
