// Counts the steps of a tile: one for each output pixel, row by row, image by image. A step is known by the place of its
// window: the coordinates of the window's corner in the feature map, and the corner's address in the activation buffer.
module step_counter #(
    parameter ADDRESS_BITS = 32,
    parameter SIDE_BITS = 15
) (
    input  logic                           clock,
    input  logic                           first,       // the first step of a tile
    input  logic                           valid,
    input  logic        [ADDRESS_BITS-1:0] first_corner,
    input  logic signed [SIDE_BITS:0]      first_y, first_x,
    input  logic        [SIDE_BITS:0]      stride_y, stride_x,
    input  logic        [ADDRESS_BITS-1:0] row_jump,    // from the last corner of a row to the first of the next
    input  logic        [ADDRESS_BITS-1:0] image_jump,  // from the last corner of an image to the first of the next
    input  logic        [31:0]             out_height, out_width,
    output logic        [ADDRESS_BITS-1:0] corner,
    output logic signed [SIDE_BITS:0]      y, x,
    output logic        [31:0]             step
);
    // what the next step is, unless it is the first of a tile
    logic        [ADDRESS_BITS-1:0] next_corner, step_right;
    logic        [31:0]             next_step, row, column, next_row, next_column;
    logic signed [SIDE_BITS:0]      next_y, next_x;
    assign corner = first ? first_corner : next_corner;
    assign y = first ? first_y : next_y;
    assign x = first ? first_x : next_x;
    assign step = first ? 0 : next_step;
    assign row = first ? 0 : next_row;
    assign column = first ? 0 : next_column;
    assign step_right = ADDRESS_BITS'(stride_x);

    always_ff @(posedge clock) if (valid) begin
        next_step <= step + 1;
        if (column + 1 != out_width) begin
            {next_column, next_row, next_x, next_y} <= {column + 32'd1, row, x + stride_x, y};
            next_corner <= corner + step_right;
        end else if (row + 1 != out_height) begin
            {next_column, next_row, next_x, next_y} <= {32'd0, row + 32'd1, first_x, y + stride_y};
            next_corner <= corner + row_jump;
        end else begin
            {next_column, next_row, next_x, next_y} <= {64'd0, first_x, first_y};
            next_corner <= corner + image_jump;
        end
    end
endmodule
