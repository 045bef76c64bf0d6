// Reads a weight stream from front to back: whole words of its header and records, then the bits of a record through a
// window. docs/stream.md of tightc has the format.
//
// The memory gives 32 bits at an address in the same cycle, the first byte highest. The check sum is the CRC-32 of zlib.
module image_reader #(
    parameter ADDRESS_BITS = 16  // of words
) (
    input  logic                    clock,
    input  logic                    reset,
    output logic [ADDRESS_BITS-1:0] address,
    input  logic [31:0]             word,
    output logic [31:0]             number,   // the word at `address`, its first byte lowest
    input  logic                    take,     // go on behind that word
    input  logic                    restart,  // a check sum begins with it
    input  logic                    open,     // `number` is the check sum of the record whose bits follow
    input  logic [28:0]             length,   // bytes of these bits
    output logic [31:0]             window,   // the next bits, the next one highest; 0 behind the last one
    output logic                    ready,    // the window is filled
    input  logic [5:0]              used,     // bits to go on by, up to 32
    output logic [31:0]             check,    // sum of what was taken or fetched
    output logic                    ended,    // less than a byte of the bits is left, and it is 0
    output logic                    wrong     // more bits are used than there are, or the fillers of a word are not 0
);
    logic [63:0] buffer, rest;
    logic [6:0]  filled, kept;
    logic [28:0] to_fetch;   // bytes
    logic [31:0] left;       // bits
    logic [31:0] sum, next_sum;
    logic        fetch, fillers;
    logic [2:0]  count;      // bytes of the record in this word
    assign number = {word[7:0], word[15:8], word[23:16], word[31:24]};
    assign window = buffer[63:32];
    assign ready = filled >= 32 || to_fetch == 0;
    assign rest = buffer << used;
    assign kept = filled > 7'(used) ? filled - 7'(used) : 0;
    assign fetch = to_fetch != 0 && kept <= 32 && !open;
    assign count = to_fetch > 4 ? 3'd4 : to_fetch[2:0];
    assign fillers = fetch && (word << {count, 3'd0}) != 0;
    assign check = ~sum;
    assign ended = left < 8 && to_fetch == 0 && window == 0;

    // the check sum behind the bytes of this word
    always_comb begin
        next_sum = take && restart ? 32'hFFFFFFFF : sum;
        for (int i = 0; i < 4; i = i + 1) begin
            if (take || i < 32'(count)) begin
                next_sum = next_sum ^ ((word >> (24 - 8 * i)) & 32'hFF);
                for (int b = 0; b < 8; b = b + 1) next_sum = (next_sum >> 1) ^ (32'hEDB88320 & -(next_sum & 32'd1));
            end
        end
    end

    always_ff @(posedge clock) begin
        if (reset) begin
            {address, filled, to_fetch, left, wrong} <= 0;
            {buffer, sum} <= {64'd0, 32'hFFFFFFFF};
        end else begin
            if (take || fetch) address <= address + 1;
            if ((take && !open) || fetch) sum <= next_sum;
            if (open) begin
                {buffer, filled, to_fetch, left} <= {64'd0, 7'd0, length, length, 3'd0};
            end else begin
                buffer <= fetch ? rest | ({word, 32'd0} >> kept) : rest;
                filled <= fetch ? kept + 32 : kept;
                left <= left - 32'(used);
                if (fetch) to_fetch <= to_fetch - 29'(count);
                if (32'(used) > left || fillers) wrong <= 1;
            end
        end
    end
endmodule
