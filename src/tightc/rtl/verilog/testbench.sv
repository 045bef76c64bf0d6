// Runs all layers of a network, and compares: the cycle in which each tile starts and the cycles of each layer with those
// of the simulator, the sums of each layer with onnxruntime's, and the requantized bytes with onnxruntime's.
//
// Every layer reads what onnxruntime had at its input. With +chain it reads what the layers before it have written,
// through the pools between them, as far as the image says how. With +trace, the array's signals go to trace.vcd.
//
// A byte may differ by one where the exact value lies within 1/1024 of where rounding turns: onnxruntime computes it in
// floating point. Such bytes are counted. With +chain, a layer that reads such a byte has other sums than onnxruntime's,
// which are then not compared. Everything else that differs is a failure.
/* verilator lint_off BLKSEQ */  // a testbench computes in sequence, with integers of 32 bits
/* verilator lint_off UNUSEDSIGNAL */
module testbench;
    `include "network.svh"
    localparam WORDS = 24, LINK_WORDS = 16;
    localparam MOST_SHOWN = 5;  // differences of a kind

    logic clock = 0;
    logic reset = 1;
    logic go = 0;
    logic [31:0] layer = 0;
    logic swap, done;
    logic [COLUMNS-1:0] complete;
    logic [32*COLUMNS-1:0] complete_place;
    logic [32*COLUMNS-1:0] complete_sum;
    logic [8*COLUMNS-1:0] complete_byte;
    accelerator #(
        .ROWS(ROWS), .COLUMNS(COLUMNS), .FAN_IN(FAN_IN), .ONE_HOT(ONE_HOT),
        .COLUMNS_PER_REGISTER(COLUMNS_PER_REGISTER), .SHADOW(SHADOW), .OVERLAP(OVERLAP), .BYPASS(BYPASS),
        .SUBWORD_BITS(SUBWORD_BITS), .LAYERS(LAYERS), .TILES(TILES), .FILTERS(FILTERS), .ACTIVATIONS(ACTIVATIONS),
        .SIDE_BITS(SIDE_BITS), .PARTIAL_SUMS(PARTIAL_SUMS)
    ) dut (
        .clock(clock), .reset(reset), .go(go), .layer(layer), .swap(swap), .done(done), .complete(complete),
        .complete_place(complete_place), .complete_sum(complete_sum), .complete_byte(complete_byte)
    );

    // what the image expects, and what the accelerator has written
    logic signed [31:0] expected_sums   [0:OUTPUTS-1];
    logic signed [7:0]  expected_bytes  [0:OUTPUTS-1];
    logic        [31:0] expected_starts [0:TILES-1];
    logic        [31:0] links           [0:LAYERS*LINK_WORDS-1];
    logic signed [31:0] sums            [0:OUTPUTS-1];
    logic signed [7:0]  bytes           [0:OUTPUTS-1];
    logic               written         [0:OUTPUTS-1];
    logic               rounded         [0:LAYERS-1];  // whether a byte of the layer differs by rounding, or one before

    function automatic integer of_layer(input integer word);
        of_layer = $signed(dut.layers[layer * WORDS + word]);
    endfunction
    function automatic integer of_link(input integer word);
        of_link = $signed(links[layer * LINK_WORDS + word]);
    endfunction

    // watching a layer run
    integer cycle = 0, tile = 0, failures = 0, wrong_starts, column, place;
    logic running = 0;
    always @(posedge clock) begin
        if (go) begin
            cycle <= 0;
            tile <= 0;
            running <= 1;
            wrong_starts <= 0;
        end else if (running) begin
            cycle <= cycle + 1;
            if (swap) begin
                if (cycle + 1 !== expected_starts[of_layer(1) + tile]) begin
                    wrong_starts <= wrong_starts + 1;
                    if (wrong_starts < MOST_SHOWN)
                        $display("  tile %0d: expected a start in cycle %0d, got %0d", tile,
                                 expected_starts[of_layer(1) + tile], cycle + 1);
                end
                tile <= tile + 1;
            end
            if (done) running <= 0;
        end
        for (column = 0; column < COLUMNS; column = column + 1)
            if (complete[column]) begin
                place = complete_place[32*column +: 32];
                if (written[place]) begin
                    failures = failures + 1;
                    $display("  output %0d: expected one sum, got a second", place);
                end
                written[place] = 1;
                sums[place] = complete_sum[32*column +: 32];
                bytes[place] = complete_byte[8*column +: 8];
            end
    end

    // the exact value of an output, in units of 2 ** -shift
    function automatic logic signed [63:0] exact(input integer filter, input logic signed [31:0] sum);
        exact = 64'(sum) * 64'($signed(dut.multipliers[of_layer(4) + filter])) + $signed(dut.offsets[of_layer(4) + filter]);
    endfunction
    function automatic logic signed [7:0] as_byte(input integer filter, input logic signed [63:0] value);
        logic signed [63:0] scaled;
        scaled = value >>> dut.shifts[of_layer(4) + filter];
        if (scaled < 64'(of_layer(18))) scaled = 64'(of_layer(18));
        if (scaled > 64'(of_layer(19))) scaled = 64'(of_layer(19));
        as_byte = scaled[7:0];
    endfunction
    // whether rounding turns near a value
    function automatic logic is_near(input integer filter, input logic signed [63:0] value);
        logic [63:0] unit, rest;
        unit = 64'd1 << dut.shifts[of_layer(4) + filter];
        rest = value & (unit - 1);
        is_near = rest < unit >> 10 || unit - rest < unit >> 10;
    endfunction

    // comparing what a layer has written
    integer compared = 0;  // outputs of all layers
    integer different_sums, different_bytes, rounded_bytes, rounded_reads, at, f, m, difference;
    task automatic compare;
        different_sums = 0;
        different_bytes = 0;
        rounded_bytes = 0;
        for (m = 0; m < of_layer(2); m = m + 1)
            for (f = 0; f < of_layer(3); f = f + 1) begin
                at = of_layer(5) + m * of_layer(3) + f;
                compared = compared + 1;
                if (!written[at]) begin  // no tile has a weight of this filter
                    sums[at] = 0;
                    bytes[at] = as_byte(f, exact(f, 0));
                end
                if (rounded_reads != 0) begin
                    if (^sums[at] === 1'bx) different_sums = different_sums + 1;
                end else if (sums[at] !== expected_sums[at]) begin
                    different_sums = different_sums + 1;
                    if (different_sums <= MOST_SHOWN)
                        $display("  vector %0d, filter %0d: expected the sum %0d, got %0d", m, f, expected_sums[at], sums[at]);
                end
                if (of_layer(20) != 0 && rounded_reads == 0 && bytes[at] !== expected_bytes[at]) begin
                    difference = 32'(bytes[at]) - 32'(expected_bytes[at]);
                    if ((difference == 1 || difference == -1) && is_near(f, exact(f, sums[at])))
                        rounded_bytes = rounded_bytes + 1;
                    else begin
                        different_bytes = different_bytes + 1;
                        if (different_bytes <= MOST_SHOWN)
                            $display("  vector %0d, filter %0d: expected the byte %0d, got %0d", m, f, expected_bytes[at], bytes[at]);
                    end
                end
            end
        rounded[layer] = rounded_bytes != 0 || rounded_reads != 0;
    endtask

    // what lies between two layers: nothing or a pool. A link: the layer before (from 1 on, 0 for none), 1 for the
    // largest or 2 for the mean, images, channels, height and width before, kernel, strides, padding, height and width
    // after.
    integer n, ch, oy, ox, ky, kx, iy, ix, from, base, units;
    logic signed [63:0] total;
    logic signed [7:0] best;
    logic is_mean, turns;
    task automatic read_layers_before;
        logic [31:0] now;
        now = layer;
        base = layer + 1 < LAYERS ? $signed(dut.layers[(layer + 1) * WORDS + 21]) : ACTIVATIONS;
        if (of_link(2) * of_link(3) * of_link(12) * of_link(13) !== base - of_layer(21)) begin
            failures = failures + 1;
            $display("  expected a link to %0d activations", base - of_layer(21));
        end
        for (n = 0; n < of_link(2); n = n + 1)
            for (ch = 0; ch < of_link(3); ch = ch + 1)
                for (oy = 0; oy < of_link(12); oy = oy + 1)
                    for (ox = 0; ox < of_link(13); ox = ox + 1) begin
                        best = -128;
                        total = 0;
                        units = 0;
                        for (ky = 0; ky < of_link(6); ky = ky + 1)
                            for (kx = 0; kx < of_link(7); kx = kx + 1) begin
                                iy = oy * of_link(8) + ky - of_link(10);
                                ix = ox * of_link(9) + kx - of_link(11);
                                if (iy >= 0 && iy < of_link(4) && ix >= 0 && ix < of_link(5)) begin
                                    from = ((n * of_link(4) + iy) * of_link(5) + ix) * of_link(3) + ch;
                                    units = units + 1;
                                    layer = of_link(0) - 1;
                                    from = from + of_layer(5);
                                    if (bytes[from] > best) best = bytes[from];
                                    total = total + rectified(ch, sums[from]);
                                    layer = now;
                                end
                            end
                        base = of_layer(21) + ((n * of_link(3) + ch) * of_link(12) + oy) * of_link(13) + ox;
                        is_mean = of_link(1) == 2;
                        layer = of_link(0) - 1;
                        if (is_mean) begin
                            total = (total + 64'(units) / 2) / 64'(units) + half(ch);
                            best = as_byte(ch, total);
                        end
                        turns = rounded[layer] || (is_mean && is_near(ch, total));
                        layer = now;
                        read_instead(best, turns);
                    end
    endtask
    // the activation at `base`; where it differs from the image's and rounding does not explain that, it is a failure
    task automatic read_instead(input logic signed [7:0] value, input logic by_rounding);
        difference = 32'(value) - 32'($signed(dut.activations[base]));
        if (difference !== 0) begin
            rounded_reads = rounded_reads + 1;
            if (!by_rounding) begin
                failures = failures + 1;
                $display("  activation %0d: expected %0d, got %0d", base, $signed(dut.activations[base]), value);
            end
        end
        dut.activations[base] = value;
    endtask
    function automatic logic signed [63:0] half(input integer filter);
        half = (64'd1 << dut.shifts[of_layer(4) + filter]) >> 1;
    endfunction
    function automatic logic signed [63:0] rectified(input integer filter, input logic signed [31:0] sum);
        rectified = exact(filter, sum) - half(filter);
        if (rectified < 0) rectified = 0;
    endfunction

    always #5 clock = ~clock;
    integer all_cycles = 0, all_rounded = 0, i;
    initial begin
        $readmemh("sums.hex", expected_sums);
        $readmemh("bytes.hex", expected_bytes);
        $readmemh("starts.hex", expected_starts);
        $readmemh("links.hex", links);
        for (i = 0; i < OUTPUTS; i = i + 1) written[i] = 0;
        if ($test$plusargs("trace")) begin
            $dumpfile("trace.vcd");
            $dumpvars(0, dut.array);
        end
        repeat (2) @(negedge clock);
        reset = 0;
        for (i = 0; i < LAYERS; i = i + 1) begin
            layer = i;
            rounded_reads = 0;
            if ($test$plusargs("chain") && of_link(0) !== 0) read_layers_before();
            go = 1;
            @(negedge clock);
            go = 0;
            if (of_layer(0) != 0) begin
                while (running && cycle <= of_layer(22)) @(negedge clock);
                running = 0;
                repeat (4) @(negedge clock);
            end else begin
                running = 0;
            end
            compare();
            $display("layer %0d: %0d tiles, %0d cycles, %0d sums, %0d wrong starts, %0d sums differ, %0d bytes differ, %0d by rounding",
                     i, tile, cycle, of_layer(2) * of_layer(3), wrong_starts, different_sums, different_bytes, rounded_bytes);
            if (rounded_reads != 0) $display("  %0d activations differ by rounding: sums are not compared", rounded_reads);
            if (tile !== of_layer(0) || cycle !== of_layer(22) || wrong_starts != 0) begin
                failures = failures + 1;
                $display("  expected %0d tiles and %0d cycles", of_layer(0), of_layer(22));
            end
            if (different_sums != 0 || different_bytes != 0) failures = failures + 1;
            all_cycles = all_cycles + cycle;
            all_rounded = all_rounded + rounded_bytes;
        end
        if (compared != OUTPUTS) begin
            failures = failures + 1;
            $display("  expected %0d outputs, got %0d", OUTPUTS, compared);
        end
        if (failures == 0) $display("passed: %0d layers, %0d cycles, %0d bytes differ by rounding", LAYERS, all_cycles, all_rounded);
        else $display("FAILED: %0d failures", failures);
        $finish;
    end
endmodule
/* verilator lint_on BLKSEQ */
/* verilator lint_on UNUSEDSIGNAL */
