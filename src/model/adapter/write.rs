//! An adapter as a GGUF file that llama.cpp reads.

use super::{Adapter, AdapterError, keys};
use crate::model::gguf::{FILE_TYPE, GgufWriter, TensorInfo, Value, file_type};
use crate::model::{Encoding, hex};
use crate::pxi::Target;

impl Adapter {
    /// Writes the GGUF file that llama.cpp's converter would write, with the root hash of the base
    /// and the words on the run beside it. The matrices are F32, F16 or BF16.
    ///
    /// # Errors
    /// The file cannot be written, `encoding` is none of these, a number of the adapter does not
    /// fit it, or halves of an update are not of the sizes that it says.
    pub fn write(&self, target: impl Into<Target>, encoding: Encoding) -> Result<(), AdapterError> {
        let target = target.into();
        let path = target.path().to_owned();
        if encoding.is_quantised() {
            let problem = format!("an adapter is written as F32, F16 or BF16, not {encoding}");
            return Err(AdapterError::file(&path, problem));
        }
        let halves = || self.updates.iter().flat_map(super::LowRank::halves);
        let mut infos = Vec::new();
        for (name, [rows, columns], numbers) in halves() {
            if rows * columns != numbers.len() {
                let problem = format!("{} numbers for {rows} x {columns}", numbers.len());
                return Err(AdapterError::tensor(&path, &name, problem));
            }
            // GGML names the columns of a row first.
            infos.push(TensorInfo { name, dims: vec![columns as u64, rows as u64], encoding });
        }
        let mut writer = GgufWriter::create(target, &self.metadata(encoding), &infos)?;
        for (name, _, numbers) in halves() {
            let bytes = bytes_of(numbers, encoding).ok_or_else(|| {
                let problem = format!("a number that {encoding} cannot hold; write F32");
                AdapterError::tensor(&path, &name, problem)
            })?;
            writer.write(&bytes)?;
        }
        Ok(writer.finish()?)
    }

    fn metadata(&self, encoding: Encoding) -> Vec<(String, Value)> {
        let mut pairs: Vec<(&str, Value)> = vec![
            (keys::ARCHITECTURE, self.architecture.name().into()),
            (keys::TYPE, keys::ADAPTER.into()),
            (FILE_TYPE, Value::U32(file_type(encoding))),
            (keys::ADAPTER_TYPE, keys::LORA.into()),
            (keys::ALPHA, Value::F32(self.alpha)),
        ];
        if let Some(base) = &self.base {
            pairs.push((keys::BASE, hex(base).as_str().into()));
        }
        if let Some(run) = &self.run {
            pairs.push((keys::RUN, run.as_str().into()));
        }
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// Numbers as an encoding of plain floats has them, or `None` where one is not finite in it.
pub(in crate::model) fn bytes_of(numbers: &[f32], encoding: Encoding) -> Option<Vec<u8>> {
    fn each<const N: usize>(
        numbers: &[f32],
        encode: impl Fn(f32) -> Option<[u8; N]>,
    ) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(numbers.len() * N);
        for number in numbers {
            bytes.extend_from_slice(&encode(*number)?);
        }
        Some(bytes)
    }
    match encoding {
        Encoding::F16 => each(numbers, |x| {
            let half = half::f16::from_f32(x);
            half.is_finite().then(|| half.to_le_bytes())
        }),
        Encoding::BF16 => each(numbers, |x| {
            let half = half::bf16::from_f32(x);
            half.is_finite().then(|| half.to_le_bytes())
        }),
        _ => each(numbers, |x| x.is_finite().then(|| x.to_le_bytes())),
    }
}
