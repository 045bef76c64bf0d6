// A number in the Elias gamma code, up to 65534, from the next bits of a weight stream.
module gamma_reader (
    input  logic [31:0] window,  // the next bit highest
    output logic [15:0] number,
    output logic [5:0]  used,
    output logic        wrong    // it has more bits
);
    logic [3:0] zeros;
    always_comb begin
        zeros = 0;
        for (int b = 1; b < 16; b = b + 1) if ((window >> (32 - b)) == 0) zeros = 4'(b);
    end
    assign wrong = window[31:16] == 0;
    assign used = {1'b0, zeros, 1'b1};
    assign number = 16'(window >> (6'd32 - used)) - 1;
endmodule
