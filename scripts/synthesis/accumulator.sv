// One column of accumulators.sv with its memory outside: the entries of this tile and the next, and the adder that adds
// what the memory holds, or 0 where this is the first part of a filter. The address of the word is not part of it.
module accumulator #(
    parameter SUM_BITS = 32
) (
    input  logic                clock,
    input  logic                load,
    input  logic                swap,
    input  logic                valid,
    input  logic [31:0]         entry_in,  // {used, first, last, filter}
    input  logic [SUM_BITS-1:0] sum,
    input  logic [SUM_BITS-1:0] stored,
    output logic [SUM_BITS-1:0] total,
    output logic                write, complete,
    output logic [28:0]         filter
);
    logic [31:0] entry, next_entry;
    always_ff @(posedge clock) begin
        if (load) next_entry <= entry_in;
        if (swap) entry <= next_entry;
        total <= sum + (entry[30] ? 0 : stored);
        write <= valid && entry[31];
        complete <= valid && entry[31] && entry[29];
        filter <= entry[28:0];
    end
endmodule
