// One processing element. It picks one of the FAN_IN inputs of its lane, multiplies it by the weight in its slot, and
// adds the product to the sum from above. Lane inputs move right, sums move down, slots move up while they are loaded.
//
//   ONE_HOT        0: the select is a number, and the multiplexer a tree of 2:1; 1: it is kept as one bit an input
//   LANE_REGISTER  1: the lane's inputs are registered here on their way right; 0: they pass as wires
//   SHADOW         1: a second register for the slot, so that the next tile loads while this one runs
//   SUBWORD_BITS   0: a slot holds a signed weight of 8 bits; 2 or 4: {place, sign, magnitude} of a subword of as many
//
// A select is {used, number}, or FAN_IN bits of which one is set; a slot that is not used multiplies 0.
module pe #(
    parameter FAN_IN = 1,
    parameter ONE_HOT = 0,
    parameter LANE_REGISTER = 1,
    parameter SHADOW = 0,
    parameter SUBWORD_BITS = 0,
    parameter SUM_BITS = 32,
    parameter SLOT_BITS = SUBWORD_BITS == 0 ? 8 : SUBWORD_BITS + 1 + $clog2(8 / SUBWORD_BITS),
    parameter SELECT_BITS = ONE_HOT != 0 ? FAN_IN : $clog2(FAN_IN) + 1
) (
    input  logic                       clock,
    input  logic                       load,
    input  logic                       swap,
    input  logic [SLOT_BITS-1:0]       slot_below,
    input  logic [SELECT_BITS-1:0]     select_below,
    output logic [SLOT_BITS-1:0]       slot_above,
    output logic [SELECT_BITS-1:0]     select_above,
    input  logic [8*FAN_IN-1:0]        lane_left,
    output logic [8*FAN_IN-1:0]        lane_right,
    input  logic signed [SUM_BITS-1:0] sum_above,
    output logic signed [SUM_BITS-1:0] sum_below
);
    logic [SLOT_BITS-1:0]   slot;
    logic [SELECT_BITS-1:0] select;

    // the slot: loaded from below; with SHADOW a swap takes it over, even in the cycle in which it arrives
    generate
        if (SHADOW != 0) begin : g_shadow
            logic [SLOT_BITS-1:0]   next_slot;
            logic [SELECT_BITS-1:0] next_select;
            always_ff @(posedge clock) if (load) {next_slot, next_select} <= {slot_below, select_below};
            always_ff @(posedge clock)
                if (swap) {slot, select} <= load ? {slot_below, select_below} : {next_slot, next_select};
            assign {slot_above, select_above} = {next_slot, next_select};
        end else begin : g_plain
            logic unused;
            assign unused = swap;
            always_ff @(posedge clock) if (load) {slot, select} <= {slot_below, select_below};
            assign {slot_above, select_above} = {slot, select};
        end
    endgenerate

    // the lane
    generate
        if (LANE_REGISTER != 0) begin : g_register
            always_ff @(posedge clock) lane_right <= lane_left;
        end else begin : g_wire
            assign lane_right = lane_left;
        end
    endgenerate

    // the multiplexer
    logic signed [7:0] chosen;
    multiplexer #(.FAN_IN(FAN_IN), .ONE_HOT(ONE_HOT)) multiplexer (
        .select(select), .inputs(lane_left), .chosen(chosen)
    );

    // the product and the sum
    logic signed [SUM_BITS-1:0] product;
    generate
        if (SUBWORD_BITS == 0) begin : g_word
            logic signed [15:0] exact;
            assign exact = chosen * $signed(slot);
            assign product = SUM_BITS'(exact);
        end else begin : g_subword
            localparam PLACE_BITS = $clog2(8 / SUBWORD_BITS);
            logic signed [SUBWORD_BITS+8:0] exact, with_sign;
            logic [PLACE_BITS-1:0] place;
            logic negative;
            logic [SUBWORD_BITS-1:0] magnitude;
            assign {place, negative, magnitude} = slot;
            assign exact = chosen * $signed({1'b0, magnitude});
            assign with_sign = negative ? -exact : exact;
            assign product = SUM_BITS'(with_sign) << (SUBWORD_BITS * place);
        end
    endgenerate
    always_ff @(posedge clock) sum_below <= sum_above + product;
endmodule
