//! What passes on any machine, without a GPU.

mod shaders;
