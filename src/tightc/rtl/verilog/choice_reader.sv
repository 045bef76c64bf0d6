// One of `options` numbers from 0 in truncated binary, from the next bits of a weight stream.
module choice_reader (
    input  logic [31:0] window,   // the next bit highest
    input  logic [31:0] options,  // from 1 to 2^30
    output logic [29:0] chosen,
    output logic [5:0]  used
);
    logic [5:0]  width;   // floor(log2 options)
    logic [31:0] short_codes, low, high;
    always_comb begin
        width = 0;
        for (int b = 1; b < 32; b = b + 1) if (options[b]) width = 6'(b);
        short_codes = (32'd2 << width) - options;
        low = 32'({32'd0, window} >> (6'd32 - width));
        high = 32'({31'd0, window, 1'b0} >> (6'd32 - width));
        used = low < short_codes ? width : width + 1;
        chosen = 30'(low < short_codes ? low : high - short_codes);
    end
endmodule
