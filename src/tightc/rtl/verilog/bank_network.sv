// The network from the banks of the activation buffer to the inputs of the lanes: every input can take the byte of any
// bank in each cycle. Which row a bank reads is decided before; two inputs that share a bank share its byte.
module bank_network #(
    parameter BANKS = 32,
    parameter PORTS = 32,
    parameter BANK_BITS = BANKS > 1 ? $clog2(BANKS) : 1
) (
    input  logic [8*BANKS-1:0]         bytes,  // of each bank
    input  logic [BANK_BITS*PORTS-1:0] banks,  // that each input reads
    output logic [8*PORTS-1:0]         inputs
);
    genvar p;
    generate
        for (p = 0; p < PORTS; p = p + 1) begin : g_port
            assign inputs[8*p +: 8] = bytes[8*banks[BANK_BITS*p +: BANK_BITS] +: 8];
        end
    endgenerate
endmodule
