//! The kernels' twins on the CPU: the same parameters, the same result, the plainest code that gives it. The tests
//! hold every kernel to its twin.

mod rms_norm;

pub use rms_norm::rms_norm;
