// Workgroups that wait for each other within a dispatch: only where each has a thread of its own,
// as on a software adapter.
#define_import_path pixel_llm::meeting
#import pixel_llm::activations::places

// The first word counts meetings that came to nothing, and those that took long in its upper half;
// the second is the step's count of columns; then, for each layer, one word per meeting, how many
// have come, and one per phase, how many units are taken.
@group(0) @binding(12) var<storage, read_write> meetings: array<atomic<u32>>;

// Turns of waiting in this dispatch. A software adapter ends every loop of an invocation after
// 65535 turns of all of them together, without a word, so waiting must leave enough for the
// computing.
const PATIENCE: u32 = 40000u;
// A meeting that took longer than a time slice or two: other programs keep a thread of the crew
// from its processor.
const SLOW: u32 = 0x10000u;
var<private> waited: u32 = 0u;

// Columns of the step.
fn column_count() -> u32 {
    return atomicLoad(&meetings[1]);
}

// The next unit of a phase, which nobody else gets: a thread that other programs keep from its
// processor leaves more to the rest.
fn take(index: u32, lane: u32) -> u32 {
    let at = min(2u + index, arrayLength(&meetings) - 1u);
    var unit = 0u;
    if lane == 0u {
        unit = atomicAdd(&meetings[at], 1u);
    }
    return subgroupShuffle(unit, 0u);
}

// Something that takes a while, for a lane that waits: 32 square roots, each of the one before.
fn linger(v: f32) -> f32 {
    var s = v;
    s = sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(s)))))))) + v;
    s = sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(s)))))))) + v;
    s = sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(s)))))))) + v;
    s = sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(sqrt(s)))))))) + v;
    return s;
}

fn linger_long(v: f32) -> f32 {
    return linger(linger(linger(linger(linger(linger(linger(linger(v))))))));
}

// Waits until the whole crew has come to meeting `index`. False if it did not: then nothing that
// was computed counts.
fn meet(index: u32, lane: u32) -> bool {
    let at = min(2u + index, arrayLength(&meetings) - 1u);
    var here = 0u;
    if lane == 0u {
        here = atomicAdd(&meetings[at], 1u) + 1u;
    }
    here = subgroupShuffle(here, 0u);
    var slow = 1.0;
    for (var i = 0u; waited < PATIENCE && here < places.crew; i++) {
        waited += 1u;
        if i == 3000u && lane == 0u {
            atomicAdd(&meetings[0], SLOW);
        }
        if i > 200u {
            slow = linger_long(linger_long(slow + f32(here)));
        }
        if lane == 0u {
            // An addition and not a load, which a compiler may take out of the loop.
            here = atomicAdd(&meetings[at], u32(slow < 0.0));
        }
        here = subgroupShuffle(here, 0u);
    }
    if here < places.crew && lane == 0u {
        atomicAdd(&meetings[0], 1u);
    }
    return here >= places.crew;
}
