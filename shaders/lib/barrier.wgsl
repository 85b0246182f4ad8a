// Persistent workgroups, which wait for each other within a dispatch: only where each has a thread
// of its own, as on a software adapter.
#define_import_path pixel_llm::barrier
#import pixel_llm::activations::places

// The first word counts barriers that failed, and those that took long in its upper half; the
// second is the step's count of columns; then, for each layer, one word per barrier, how many
// workgroups have come, and one per phase, how many work items are taken.
@group(0) @binding(12) var<storage, read_write> barriers: array<atomic<u32>>;

// Turns of waiting in this dispatch. A software adapter ends every loop of an invocation after
// 65535 turns of all of them together, without a word, so waiting must leave enough for the
// computing.
const MOST_TURNS: u32 = 40000u;
// A barrier that took longer than a time slice or two: other programs keep a thread of the adapter
// from its processor.
const SLOW: u32 = 0x10000u;
var<private> waited: u32 = 0u;

// Columns of the step.
fn column_count() -> u32 {
    return atomicLoad(&barriers[1]);
}

// The next work item of a phase, which nobody else gets: a thread that other programs keep from its
// processor leaves more to the rest.
fn next_work_item(index: u32, lane: u32) -> u32 {
    let at = min(2u + index, arrayLength(&barriers) - 1u);
    var item = 0u;
    if lane == 0u {
        item = atomicAdd(&barriers[at], 1u);
    }
    return subgroupShuffle(item, 0u);
}

// Something that takes a while, for a lane that waits: 32 square roots, each of the one before.
fn spin(v: f32) -> f32 {
    var s = v;
    s = sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(s)))))))) + v;
    s = sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(s)))))))) + v;
    s = sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(s)))))))) + v;
    s = sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(s)))))))) + v;
    return s;
}

fn spin_eight_times(v: f32) -> f32 {
    return spin(spin(spin(spin(spin(spin(spin(spin(v))))))));
}

// Waits until all persistent workgroups have come to barrier `index`. False if they did not: then
// nothing that was computed counts.
fn wait(index: u32, lane: u32) -> bool {
    let at = min(2u + index, arrayLength(&barriers) - 1u);
    var here = 0u;
    if lane == 0u {
        here = atomicAdd(&barriers[at], 1u) + 1u;
    }
    here = subgroupShuffle(here, 0u);
    var slow = 1.0;
    for (var i = 0u; waited < MOST_TURNS && here < places.workgroups; i++) {
        waited += 1u;
        if i == 3000u && lane == 0u {
            atomicAdd(&barriers[0], SLOW);
        }
        if i > 200u {
            slow = spin_eight_times(spin_eight_times(slow + f32(here)));
        }
        if lane == 0u {
            // An addition and not a load, which a compiler may take out of the loop.
            here = atomicAdd(&barriers[at], u32(slow < 0.0));
        }
        here = subgroupShuffle(here, 0u);
    }
    if here < places.workgroups && lane == 0u {
        atomicAdd(&barriers[0], 1u);
    }
    return here >= places.workgroups;
}
