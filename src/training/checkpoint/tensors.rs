//! What is trained, as a safetensors file: bit for bit, readable by anybody's tools.

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};

use crate::training::trainer::{Parameter, TrainerState};

/// Behind the name of a tensor: its values, the mean of its gradients and that of their squares.
const PARTS: [&str; 3] = ["", ".first", ".second"];

fn parts(parameter: &Parameter) -> [&Vec<f32>; 3] {
    [&parameter.values, &parameter.first, &parameter.second]
}

/// A state as bytes of a file.
pub(super) fn to_bytes(state: &TrainerState) -> Result<Vec<u8>, SafeTensorError> {
    let mut tensors = Vec::new();
    for parameter in &state.parameters {
        for (part, numbers) in PARTS.iter().zip(parts(parameter)) {
            // safetensors are little-endian, as are all machines that this program is built for.
            let bytes: &[u8] = bytemuck::cast_slice(numbers);
            let shape = vec![parameter.rows, parameter.columns];
            let view = TensorView::new(Dtype::F32, shape, bytes)?;
            tensors.push((format!("{}{part}", parameter.name), view));
        }
    }
    safetensors::serialize(tensors, None)
}

/// The tensors of the given names, in their order.
pub(super) fn from_bytes(bytes: &[u8], names: &[String]) -> Result<Vec<Parameter>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let read = |name: &str| {
        let view = file.tensor(name).map_err(|error| error.to_string())?;
        let [rows, columns] = view.shape() else {
            return Err(format!("{name}: expected a matrix"));
        };
        if view.dtype() != Dtype::F32 {
            return Err(format!("{name}: expected 32-bit floats"));
        }
        let number = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok((*rows, *columns, view.data().chunks_exact(4).map(number).collect::<Vec<f32>>()))
    };
    let parameter = |name: &String| {
        let (rows, columns, values) = read(name)?;
        let [_, first, second] = PARTS.map(|part| format!("{name}{part}"));
        let moment = |name: &str| match read(name)? {
            (r, c, numbers) if (r, c) == (rows, columns) => Ok(numbers),
            _ => Err(format!("{name}: its shape is not that of the tensor")),
        };
        let (first, second) = (moment(&first)?, moment(&second)?);
        Ok(Parameter { name: name.clone(), rows, columns, values, first, second })
    };
    names.iter().map(parameter).collect()
}
