// What a processing element adds by: the product of 16 bits joins the sum of 32 bits in its register.
module adder (
    input  logic               clock,
    input  logic signed [15:0] product,
    input  logic signed [31:0] sum_above,
    output logic signed [31:0] sum_below
);
    always_ff @(posedge clock) sum_below <= sum_above + 32'(product);
endmodule
