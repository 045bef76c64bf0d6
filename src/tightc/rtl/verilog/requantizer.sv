// Turns a complete sum into a byte: (sum x multiplier + offset) >> shift, cut to low..high. The offset holds the bias,
// the zero points and the half that rounds.
module requantizer #(
    parameter SUM_BITS = 32
) (
    input  logic signed [SUM_BITS-1:0] sum,
    input  logic signed [31:0]         multiplier,
    input  logic signed [63:0]         offset,
    input  logic        [5:0]          shift,
    input  logic signed [7:0]          low, high,
    output logic signed [7:0]          value
);
    logic signed [63:0] scaled;
    assign scaled = (64'(sum) * 64'(multiplier) + offset) >>> shift;
    assign value = scaled < 64'(low) ? low : scaled > 64'(high) ? high : scaled[7:0];
endmodule
