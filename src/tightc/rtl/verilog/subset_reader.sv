// Reads which `count` of `things` things are chosen, and gives them one after the other, rising. docs/stream.md of tightc
// has the code: gaps where many things are left, the number among all subsets where there are few.
//
// A member that is stored as a gap takes a cycle. In a numbered subset, a cycle goes on to the next member, past up to
// STEPS - 1 things that are none.
module subset_reader #(
    parameter STEPS = 4
) (
    input  logic        clock,
    input  logic        reset,
    input  logic        start,
    input  logic [15:0] things,
    input  logic [15:0] count,
    input  logic [31:0] window,
    input  logic        ready,
    output logic [5:0]  used,
    output logic        valid,   // `member` is the next one
    output logic [15:0] member,
    input  logic        next,    // it is taken in this cycle
    output logic        done,    // there is none left; in the cycle after the last one
    output logic        wrong
);
    localparam FEW = 32;
    localparam WIDTH = 30;  // of a binomial

    // binomials of up to FEW things, (FEW + 1) * n + k
    function automatic [63:0] binomial(input integer n, input integer k);
        integer i;
        begin
            binomial = 1;
            for (i = 0; i < k; i = i + 1) binomial = binomial * (64'(n) - 64'(i)) / (64'(i) + 1);
        end
    endfunction
    logic [WIDTH-1:0] binomials [0:(FEW+1)*(FEW+1)-1];
    integer n, k;
    initial begin
        for (n = 0; n <= FEW; n = n + 1)
            for (k = 0; k <= FEW; k = k + 1) binomials[(FEW+1)*n+k] = k > n ? 0 : WIDTH'(binomial(n, k));
    end

    // `first`: the next thing; `remaining` things and `left` stored members from there on
    logic [15:0]      first, remaining, left, quotient;
    logic [WIDTH-1:0] rank;
    logic             ranked, others, active;  // others: those that are not chosen are stored
    logic [15:0]      cursor, end_of_things;
    logic             all, gaps;
    assign all = left == remaining;
    assign gaps = remaining > FEW && left != 0 && !all;

    // a gap: up to 16 ones of its quotient in a cycle
    logic [3:0]  low_bits;
    logic [4:0]  ones;
    logic [15:0] most, whole, gap, too_far;
    logic        cut, ends;      // the quotient goes on in the next cycle; a zero ends it
    logic [31:0] behind;
    always_comb begin
        low_bits = 0;
        for (int b = 1; b < 16; b = b + 1) if ((32'(left) << b) <= 32'(remaining)) low_bits = 4'(b);
        most = (remaining - left) >> low_bits;
        ones = 16;
        for (int b = 0; b < 16; b = b + 1) if (!window[16+b]) ones = 5'(15 - b);
        if (16'(ones) > most - quotient) ones = 5'(most - quotient);
        whole = quotient + 16'(ones);
        cut = ones == 16 && whole != most;
        ends = whole != most;
        behind = window << (6'(ones) + 6'(ends));
        gap = (whole << low_bits) | 16'(behind >> (6'd32 - 6'(low_bits)));
        too_far = remaining - left;
    end

    // a numbered subset: the next member among the next STEPS things
    logic [WIDTH-1:0] options, chosen, walked, with_it;
    logic [5:0]       choice_used;
    logic [15:0]      passed;
    logic             found;
    choice_reader choice (.window(window), .options(32'(options)), .chosen(chosen), .used(choice_used));
    assign options = binomials[11'(remaining) * 11'(FEW + 1) + 11'(left)];
    always_comb begin
        {walked, passed, found, with_it} = {rank, 16'd0, 1'b0, WIDTH'(0)};
        for (int s = 0; s < STEPS; s = s + 1) begin
            if (!found && passed < remaining) begin
                with_it = binomials[(11'(remaining) - 11'(passed) - 11'd1) * 11'(FEW + 1) + 11'(left) - 11'd1];
                if (walked < with_it) found = 1;
                else begin
                    walked = walked - with_it;
                    passed = passed + 1;
                end
            end
        end
    end

    // a stored one, and what becomes of it
    logic        stored, pass, ahead;  // ahead: it is one of the others, and `cursor` comes before it
    logic [15:0] at;
    assign stored = active && left != 0 && (all || (gaps ? ready && !cut : ranked && found));
    assign at = all ? first : gaps ? first + gap : first + passed;
    assign ahead = stored && cursor != at;
    // of the others, `cursor` is chosen unless it is stored
    assign valid = others ? active && cursor != end_of_things && (left == 0 || ahead) : stored;
    assign member = others ? cursor : at;
    assign pass = stored && (others ? !ahead : next);
    assign done = active && left == 0 && (!others || cursor == end_of_things);
    always_comb begin
        used = 0;
        if (active && ready && left != 0 && !all) begin
            if (gaps) used = cut ? 6'd16 : pass ? 6'(ones) + 6'(ends) + 6'(low_bits) : 6'd0;
            else if (!ranked) used = choice_used;
        end
    end
    assign wrong = active && gaps && ready && !cut && gap > too_far;

    always_ff @(posedge clock) begin
        if (reset || done) active <= 0;
        if (start) begin
            others <= things > FEW && {count, 1'b0} > {1'b0, things};
            left <= things > FEW && {count, 1'b0} > {1'b0, things} ? things - count : count;
            {active, ranked, first, quotient, cursor} <= {1'b1, 1'b0, 48'd0};
            {remaining, end_of_things} <= {things, things};
        end else if (active) begin
            if (pass) begin
                {first, remaining, left} <= {at + 16'd1, remaining - (at - first) - 16'd1, left - 16'd1};
                {quotient, rank} <= {16'd0, walked};
            end else if (gaps && ready && cut) quotient <= whole;
            else if (left != 0 && !all && !gaps && !ranked && ready) {ranked, rank} <= {1'b1, chosen};
            else if (ranked && !stored) begin
                {first, remaining, rank} <= {first + passed, remaining - passed, walked};
            end
            if (others && cursor != end_of_things && (valid ? next : pass)) cursor <= cursor + 1;
        end
    end
endmodule
