// A whole layer in one dispatch, for one column or for all columns of the step, by a crew of
// workgroups that share the units of each phase and wait for each other after it. A dispatch wakes
// the threads of a software adapter, which takes longer than most phases.
#import pixel_llm::layer_bindings::{layer, head_scale, output_biases, down_biases}
#import pixel_llm::activations::places
#import pixel_llm::meeting::{meet, take, column_count}
#import pixel_llm::phases::qkv::project_qkv
#import pixel_llm::phases::rotate::rotate_head
#import pixel_llm::phases::attend::attend_heads
#import pixel_llm::phases::add::add_to_residual
#import pixel_llm::phases::gate_up::gate_and_up

@compute @workgroup_size(8)
fn fused_layer(@builtin(local_invocation_index) lane: u32) {
#if COLUMNS == 1
    let count = 1u;
#else
    let count = column_count();
#endif
    // Four meetings, and five counts of units.
    let meeting = layer.attend.layer * 9u;
    let taken = meeting + 4u;
    let qkv = layer.qkv;
    let units = (qkv.query.rows + 63u) / 64u + (qkv.key.rows + 63u) / 64u + (qkv.value.rows + 63u) / 64u;
    for (var unit = take(taken + 0u, lane); unit < units; unit = take(taken + 0u, lane)) {
        for (var first = 0u; first < count; first += #{COLUMNS}u) {
            project_qkv(qkv, unit, first, lane);
        }
    }
    if !meet(meeting, lane) {
        return;
    }

    // Who attends with a head has turned it, and its key and value, before: what a lane wrote, the
    // others of its workgroup read.
    let attend = layer.attend;
    let heads_per_kv = min(attend.heads_per_kv, arrayLength(&head_scale));
    let kv_heads = attend.head_count / heads_per_kv;
    for (var unit = take(taken + 1u, lane); unit < kv_heads * count; unit = take(taken + 1u, lane)) {
        let column = unit / kv_heads;
        let kv = unit % kv_heads;
        rotate_head(qkv, attend.head_count + kv, column, lane);
        rotate_head(qkv, attend.head_count + kv_heads + kv, column, lane);
        for (var i = 0u; i < heads_per_kv; i++) {
            rotate_head(qkv, kv * heads_per_kv + i, column, lane);
        }
        for (var i = 0u; i < heads_per_kv / #{HEADS}u; i++) {
            attend_heads(attend, kv * (heads_per_kv / #{HEADS}u) + i, column, lane);
        }
    }
    if !meet(meeting + 1u, lane) {
        return;
    }

    let project = layer.project;
    let rows = (project.matrix.rows + 31u) / 32u;
    for (var unit = take(taken + 2u, lane); unit < rows; unit = take(taken + 2u, lane)) {
        for (var first = 0u; first < count; first += #{COLUMNS}u) {
            add_to_residual(
                project.matrix,
                project.layer_scale,
                places.attended,
                0u,
                output_biases(),
                unit,
                first,
                count,
                lane,
            );
        }
    }
    if !meet(meeting + 2u, lane) {
        return;
    }

    let hidden = (layer.gate_up.gate.rows + 31u) / 32u;
    for (var unit = take(taken + 3u, lane); unit < hidden; unit = take(taken + 3u, lane)) {
        for (var first = 0u; first < count; first += #{COLUMNS}u) {
            gate_and_up(layer.gate_up, unit, first, lane);
        }
    }
    if !meet(meeting + 3u, lane) {
        return;
    }

    let down = layer.down;
    for (var unit = take(taken + 4u, lane); unit < rows; unit = take(taken + 4u, lane)) {
        for (var first = 0u; first < count; first += #{COLUMNS}u) {
            add_to_residual(
                down.matrix,
                down.layer_scale,
                places.hidden,
                down.matrix.rows >> 2u,
                down_biases(),
                unit,
                first,
                count,
                lane,
            );
        }
    }
}
