// A whole layer in one dispatch, for one column or for all columns of the step, by persistent
// workgroups that share the work items of each phase and wait for each other after it. A dispatch
// wakes the threads of a software adapter, which takes longer than most phases.
#import pixel_llm::layer_bindings::{layer, head_scale}
#import pixel_llm::barrier::{wait, next_work_item, column_count}
#import pixel_llm::phases::qkv::project_qkv
#import pixel_llm::phases::rope::rotate_head
#import pixel_llm::phases::attend::attend_heads
#import pixel_llm::phases::add::{add_attention, add_feed_forward}
#import pixel_llm::phases::gate_up::gate_and_up

#ifdef ADAPTERS
#import pixel_llm::adapters::{adapted, narrowed_first, narrow_column, ranks_of}

// Each workgroup for itself what adapters make of a point's inputs: less than a wait for others.
fn narrow_all(point: u32, count: u32, lane: u32) {
    let ranks = ranks_of(point);
    for (var i = 0u; i < ranks; i++) {
        for (var column = 0u; column < count; column++) {
            narrow_column(point, i, column, lane);
        }
    }
}
#endif

@compute @workgroup_size(8)
fn fused_layer(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
#if COLUMNS == 1
    let count = 1u;
#else
    let count = column_count();
#endif
    // Four barriers, and five counts of work items.
    let barrier = layer.attend.layer * 9u;
    let items = barrier + 4u;
    let qkv = layer.qkv;
    let groups = (qkv.query.rows + 63u) / 64u + (qkv.key.rows + 63u) / 64u
        + (qkv.value.rows + 63u) / 64u;
#ifdef ADAPTERS
    // At most eight columns, each with its ranks.
    narrowed_first = group.x * 8u * adapted[0].y;
    narrow_all(0u, count, lane);
#endif
    for (var i = next_work_item(items, lane); i < groups; i = next_work_item(items, lane)) {
        for (var first = 0u; first < count; first += #{COLUMNS}u) {
            project_qkv(qkv, i, first, lane);
        }
    }
    if !wait(barrier, lane) {
        return;
    }

    // Who attends with a head has turned it, and its key and value, before: what a lane wrote, the
    // others of its workgroup read.
    let attend = layer.attend;
    let heads_per_kv = min(attend.heads_per_kv, arrayLength(&head_scale));
    let kv_heads = attend.head_count / heads_per_kv;
    let heads = kv_heads * count;
    let attends = items + 1u;
    for (var i = next_work_item(attends, lane); i < heads; i = next_work_item(attends, lane)) {
        let column = i / kv_heads;
        let kv = i % kv_heads;
        rotate_head(qkv, attend.head_count + kv, column, lane);
        rotate_head(qkv, attend.head_count + kv_heads + kv, column, lane);
        for (var j = 0u; j < heads_per_kv; j++) {
            rotate_head(qkv, kv * heads_per_kv + j, column, lane);
        }
        for (var j = 0u; j < heads_per_kv / #{HEADS}u; j++) {
            attend_heads(attend, kv * (heads_per_kv / #{HEADS}u) + j, column, lane);
        }
    }
    if !wait(barrier + 1u, lane) {
        return;
    }

    let rows = (layer.project.matrix.rows + 31u) / 32u;
#ifdef ADAPTERS
    narrow_all(1u, count, lane);
#endif
    for (var i = next_work_item(items + 2u, lane); i < rows; i = next_work_item(items + 2u, lane)) {
        for (var first = 0u; first < count; first += #{COLUMNS}u) {
            add_attention(i, first, count, lane);
        }
    }
    if !wait(barrier + 2u, lane) {
        return;
    }

    let hidden = (layer.gate_up.gate.rows + 31u) / 32u;
    let gates = items + 3u;
#ifdef ADAPTERS
    narrow_all(2u, count, lane);
#endif
    for (var i = next_work_item(gates, lane); i < hidden; i = next_work_item(gates, lane)) {
        for (var first = 0u; first < count; first += #{COLUMNS}u) {
            gate_and_up(layer.gate_up, i, first, lane);
        }
    }
    if !wait(barrier + 3u, lane) {
        return;
    }

#ifdef ADAPTERS
    narrow_all(3u, count, lane);
#endif
    for (var i = next_work_item(items + 4u, lane); i < rows; i = next_work_item(items + 4u, lane)) {
        for (var first = 0u; first < count; first += #{COLUMNS}u) {
            add_feed_forward(i, first, count, lane);
        }
    }
}
