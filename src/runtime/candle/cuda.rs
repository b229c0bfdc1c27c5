//! Kernels of our own for NVIDIA GPUs, where candle's operators would take many launches.
//!
//! Starting a kernel costs a few microseconds whatever it does, and a frame of a small network is thousands
//! of such starts where each tap of a depthwise convolution, each bias and each limit is an operator. Here a
//! convolution with short sums is one kernel, a dense one is candle's product of matrices and one kernel for
//! all that follows it, and a resize is one. `kernels.cu` is their source, `kernels.ptx` what it compiles to.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaView, DeviceRepr, LaunchConfig, PushKernelArg, sys,
};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp1, DType, Device, InplaceOp1, Layout, Result, Shape,
    Storage, StorageRef, Tensor,
};
use half::f16;

use super::lower;
use crate::graph::Unary;
use crate::graph::op::{Conv, Residual};
use crate::graph::resize::Resize;

const PTX: &str = include_str!("kernels.ptx");

/// Under which name candle keeps the loaded [`PTX`].
const MODULE: &str = "endort";

/// Threads side by side. Few, because many of a small network's layers are small.
const THREADS: u32 = 256;

/// Blocks at most; each thread goes on to further values.
const BLOCKS: u32 = 1 << 20;

/// Kernels count in 31 bits.
const LIMIT: usize = i32::MAX as usize;

/// Products per output value up to which a dense convolution is its own kernel: a product of matrices would
/// first write every window out.
const SHORT: usize = 64;

/// Makes allocations cheap, of which there is one per step and frame.
pub fn prepare(device: &Device) -> Result<()> {
    let Device::Cuda(device) = device else { return Ok(()) };
    // SAFETY: events order the uses of memory between several streams that cudarc made. Candle's device has
    // one stream, the calling thread's own, and cudarc itself records no events as long as there is no other.
    // An engine is used by one thread at a time, and each run ends with its stream waited for.
    unsafe { device.disable_event_tracking() };
    let stream = device.cuda_stream();
    let context = stream.context();
    if !context.has_async_alloc() {
        return Ok(());
    }
    // By default the driver returns all unused memory whenever a stream is waited for, which is every frame,
    // and the next one asks for it again.
    let mut keep = u64::MAX;
    let mut pool = std::ptr::null_mut();
    // SAFETY: the device exists as long as its context; both pointers are to variables of the types that the
    // driver documents: a CUmemoryPool that it writes, and for this attribute a u64 that it reads.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&raw mut pool, context.cu_device()).result().w()?;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut keep).cast()).result().w()
    }
}

/// A convolution with all that is fused into it. `sums` is the bare convolution by candle, for the dense ones.
/// `None` where the kernels cannot do it.
pub fn conv(c: &Conv, inputs: &[Tensor], sums: impl FnOnce() -> Result<Tensor>) -> Result<Option<Tensor>> {
    let (x, weights) = (inputs[0].contiguous()?, inputs[1].contiguous()?);
    let Some(out) = output_shape(c, &x, &weights) else { return Ok(None) };
    let (limits, later) = match c.activation {
        None => (None, None),
        Some(Unary::Relu) => (Some((0.0, f32::INFINITY)), None),
        Some(Unary::Clip { min, max }) => (Some((min, max)), None),
        other => (None, other),
    };
    let last = inputs.last().filter(|_| c.residual.is_some()).map(Tensor::contiguous).transpose()?;
    let early = later.is_none() || c.residual == Some(Residual::BeforeActivation);
    let bias = inputs.get(2).filter(|_| c.bias).map(Tensor::contiguous).transpose()?;
    let finish = Finish {
        bias: bias.as_ref(),
        residual: last.as_ref().filter(|_| early),
        after: c.residual == Some(Residual::AfterActivation),
        limits,
    };
    let [_, channels, rows, columns] = out;
    if !finish.fits(out) {
        return Ok(None);
    }
    let products = weights.elem_count() / channels;
    let y = if c.groups > 1 || (products <= SHORT && weights.dims()[2..] != [1, 1]) {
        x.apply_op1_no_bwd(&Direct { conv: c, weights: &weights, out, finish })?
    } else {
        let y = sums()?.contiguous()?;
        let expected = [out[0], channels, rows, columns];
        if y.dims() != expected {
            candle_core::bail!("a convolution became {:?} rather than {expected:?}", y.dims());
        }
        if !finish.is_empty() {
            y.inplace_op1(&Epilogue { channels, plane: rows * columns, finish })?;
        }
        y
    };
    match (later, last) {
        (Some(activation), Some(last)) if !early => lower::unary(activation, &y)? + last,
        (Some(activation), _) => lower::unary(activation, &y),
        (None, _) => Ok(y),
    }
    .map(Some)
}

/// Whether [`resize`] can do this one.
pub fn resizes(x: &[usize], r: &Resize, dtype: DType, device: &Device) -> bool {
    let small = |shape: &[usize]| (1..=LIMIT).contains(&count(shape));
    let out = [&x[..x.len().min(2)], &r.size].concat();
    device.is_cuda() && matches!(dtype, DType::F32 | DType::F16) && x.len() == 4 && small(x) && small(&out)
}

/// What [`resize`] needs to know of each row and column.
pub fn taps(x: &[usize], r: &Resize, device: &Device) -> Result<Tensor> {
    let words = [0, 1].into_iter().flat_map(|axis| r.taps(axis, x[axis + 2]));
    let words: Vec<u32> = words.flat_map(|t| [t.low as u32, t.high as u32, t.fraction.to_bits()]).collect();
    Tensor::new(words, device)
}

/// Scales rows and columns by the [`taps`] made for this shape.
pub fn resize(x: &Tensor, r: &Resize, taps: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Resized { size: r.size, taps })
}

/// A convolution's output, where all that it is made of can be counted by the kernels and none of it is empty.
fn output_shape(c: &Conv, x: &Tensor, weights: &Tensor) -> Option<[usize; 4]> {
    let (&[n, channels, ..], &[out, group, ..]) = (x.dims(), weights.dims()) else { return None };
    if !x.device().is_cuda() || x.rank() != 4 || weights.rank() != 4 {
        return None;
    }
    if !matches!(x.dtype(), DType::F32 | DType::F16) || weights.dtype() != x.dtype() {
        return None;
    }
    if c.groups == 0 || group * c.groups != channels || out % c.groups != 0 {
        return None;
    }
    let extent = |axis: usize| {
        let padded = x.dims()[axis + 2] + c.pads[axis] + c.pads[axis + 2];
        let span =
            (weights.dims()[axis + 2].checked_sub(1)?).checked_mul(c.dilations[axis])?.checked_add(1)?;
        let extent = padded.checked_sub(span)?.checked_div(c.strides[axis])? + 1;
        (padded <= LIMIT / 2 && c.strides[axis] <= LIMIT).then_some(extent)
    };
    let shape = [n, out, extent(0)?, extent(1)?];
    let small = [x.dims(), weights.dims(), &shape].iter().all(|s| (1..=LIMIT).contains(&count(s)));
    small.then_some(shape)
}

/// How many values a shape has; the most that can be counted where they are more.
fn count(shape: &[usize]) -> usize {
    shape.iter().fold(1, |product, &extent| product.saturating_mul(extent))
}

/// What follows a convolution's sums.
#[derive(Clone, Copy)]
struct Finish<'a> {
    bias: Option<&'a Tensor>,
    residual: Option<&'a Tensor>,
    /// Whether the residual is added after the limits.
    after: bool,
    /// An activation that is a lower and an upper limit.
    limits: Option<(f32, f32)>,
}

impl Finish<'_> {
    fn is_empty(&self) -> bool {
        self.bias.is_none() && self.residual.is_none() && self.limits.is_none()
    }

    /// Whether the kernels stay within bias and residual.
    fn fits(&self, out: [usize; 4]) -> bool {
        self.bias.is_none_or(|b| b.elem_count() == out[1]) && self.residual.is_none_or(|r| r.dims() == out)
    }

    /// As `Finish` in `kernels.cu`.
    fn words(&self) -> [u32; 4] {
        let residual = match self.residual {
            None => 0,
            Some(_) if self.after => 2,
            Some(_) => 1,
        };
        let (low, high) = self.limits.unwrap_or_default();
        [residual, u32::from(self.limits.is_some()), low.to_bits(), high.to_bits()]
    }
}

/// A tensor's memory for as long as a kernel is being started on it.
struct Held<'a>(StorageRef<'a>, &'a Layout);

impl<'a> Held<'a> {
    fn new(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self(storage, layout)
    }

    fn view<T: CudaDType>(&self) -> Result<CudaView<'_, T>> {
        match &*self.0 {
            Storage::Cuda(storage) => view(storage, self.1),
            _ => candle_core::bail!("is not on the GPU"),
        }
    }
}

/// The values of a contiguous tensor.
fn view<'a, T: CudaDType>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, T>> {
    let slice: &CudaSlice<T> = storage.as_cuda_slice()?;
    let start = layout.start_offset();
    match slice.try_slice(start..start + layout.shape().elem_count()) {
        Some(view) if layout.is_contiguous() => Ok(view),
        _ => candle_core::bail!("is not in one piece"),
    }
}

fn word(n: usize) -> Result<u32> {
    match i32::try_from(n) {
        Ok(n) => Ok(n.unsigned_abs()),
        Err(_) => candle_core::bail!("{n} is too much for a kernel"),
    }
}

fn launch_of(total: u32) -> LaunchConfig {
    let blocks = total.div_ceil(THREADS).clamp(1, BLOCKS);
    LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}

fn load<T: Stored>(device: &CudaDevice, name: &str) -> Result<CudaFunction> {
    let function = device.get_or_load_custom_func(&format!("{name}_{}", T::NAME), MODULE, PTX)?;
    Ok(function.into_cuda_function())
}

/// What the kernels can read and write.
trait Stored: CudaDType + DeviceRepr {
    /// In the kernels' names.
    const NAME: &str;
}

impl Stored for f32 {
    const NAME: &str = "f32";
}

impl Stored for f16 {
    const NAME: &str = "f16";
}

/// A convolution whose sums are short, as one kernel.
struct Direct<'a> {
    conv: &'a Conv,
    weights: &'a Tensor,
    out: [usize; 4],
    finish: Finish<'a>,
}

impl Direct<'_> {
    /// As `Direct` in `kernels.cu`.
    fn words(&self, x: &Layout) -> Result<[u32; 21]> {
        let (_, channels, height, width) = x.shape().dims4()?;
        let (out, group, rows, columns) = self.weights.dims4()?;
        let c = self.conv;
        let sizes = [
            count(&self.out),
            channels,
            height,
            width,
            out,
            self.out[2],
            self.out[3],
            group,
            out / c.groups,
            rows,
            columns,
            c.strides[0],
            c.strides[1],
            c.dilations[0],
            c.dilations[1],
            c.pads[0],
            c.pads[1],
        ];
        let mut words = [0; 21];
        for (word_, size) in words.iter_mut().zip(sizes) {
            *word_ = word(size)?;
        }
        words[sizes.len()..].copy_from_slice(&self.finish.words());
        Ok(words)
    }

    fn run<T: Stored>(&self, storage: &CudaStorage, layout: &Layout) -> Result<CudaStorage> {
        let (device, stream) = (storage.device(), storage.device().cuda_stream());
        let params = self.words(layout)?;
        let name = match self.weights.dims()[2..] {
            [3, 3] => "direct_3",
            [5, 5] => "direct_5",
            _ => "direct",
        };
        let func = load::<T>(device, name)?;
        let held = Held::new(self.weights);
        let (bias, residual) = (self.finish.bias.map(Held::new), self.finish.residual.map(Held::new));
        let (x, weights) = (view::<T>(storage, layout)?, held.view::<T>()?);
        let bias = bias.as_ref().map(Held::view::<T>).transpose()?;
        let residual = residual.as_ref().map(Held::view::<T>).transpose()?;
        // SAFETY: the kernel writes every one of its values before anything reads them.
        let y = unsafe { device.alloc::<T>(count(&self.out))? };
        let null = 0usize;
        let mut builder = stream.launch_builder(&func);
        builder.arg(&x).arg(&weights);
        for view in [&bias, &residual] {
            match view {
                Some(view) => builder.arg(view),
                None => builder.arg(&null),
            };
        }
        builder.arg(&y).arg(&params);
        // SAFETY: these are the kernel's parameters in its order: five pointers and a structure of as many
        // words. `output_shape` and `Finish::fits` have found the extents to be those of the memory.
        unsafe { builder.launch(launch_of(params[0])) }.w()?;
        Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
    }
}

impl CustomOp1 for Direct<'_> {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("is for NVIDIA GPUs alone")
    }

    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let y = match storage.dtype() {
            DType::F32 => self.run::<f32>(storage, layout)?,
            DType::F16 => self.run::<f16>(storage, layout)?,
            other => candle_core::bail!("has no kernel for {other:?}"),
        };
        Ok((y, Shape::from_dims(&self.out)))
    }
}

/// What follows the sums of a dense convolution, in place.
struct Epilogue<'a> {
    channels: usize,
    /// Values per channel.
    plane: usize,
    finish: Finish<'a>,
}

impl Epilogue<'_> {
    fn run<T: Stored>(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        let device = storage.device().clone();
        let stream = device.cuda_stream();
        let total = layout.shape().elem_count();
        // As `Epilogue` in `kernels.cu`.
        let [residual, limited, low, high] = self.finish.words();
        let params = [word(total)?, word(self.channels)?, word(self.plane)?, residual, limited, low, high];
        let func = load::<T>(&device, "epilogue")?;
        let (bias, residual) = (self.finish.bias.map(Held::new), self.finish.residual.map(Held::new));
        let bias = bias.as_ref().map(Held::view::<T>).transpose()?;
        let residual = residual.as_ref().map(Held::view::<T>).transpose()?;
        let start = layout.start_offset();
        let slice: &mut CudaSlice<T> = storage.as_cuda_slice_mut()?;
        let Some(mut y) = slice.try_slice_mut(start..start + total).filter(|_| layout.is_contiguous()) else {
            candle_core::bail!("is not in one piece")
        };
        let null = 0usize;
        let mut builder = stream.launch_builder(&func);
        builder.arg(&mut y);
        for view in [&bias, &residual] {
            match view {
                Some(view) => builder.arg(view),
                None => builder.arg(&null),
            };
        }
        builder.arg(&params);
        // SAFETY: these are the kernel's parameters in its order: three pointers and a structure of as many
        // words. `Finish::fits` has found bias and residual to have as many values as the kernel reads.
        unsafe { builder.launch(launch_of(params[0])) }.w()?;
        Ok(())
    }
}

impl InplaceOp1 for Epilogue<'_> {
    fn name(&self) -> &'static str {
        "epilogue"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
        candle_core::bail!("is for NVIDIA GPUs alone")
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        match storage.dtype() {
            DType::F32 => self.run::<f32>(storage, layout),
            DType::F16 => self.run::<f16>(storage, layout),
            other => candle_core::bail!("has no kernel for {other:?}"),
        }
    }
}

/// A resize as one kernel.
struct Resized<'a> {
    size: [usize; 2],
    taps: &'a Tensor,
}

impl Resized<'_> {
    fn run<T: Stored>(&self, storage: &CudaStorage, layout: &Layout, out: &[usize]) -> Result<CudaStorage> {
        let (device, stream) = (storage.device(), storage.device().cuda_stream());
        let (_, _, height, width) = layout.shape().dims4()?;
        // As `Resize` in `kernels.cu`.
        let params =
            [word(count(out))?, word(height)?, word(width)?, word(self.size[0])?, word(self.size[1])?];
        if self.taps.elem_count() != 3 * (self.size[0] + self.size[1]) {
            candle_core::bail!("was prepared for another size");
        }
        let func = load::<T>(device, "resize")?;
        let held = Held::new(self.taps);
        let (x, taps) = (view::<T>(storage, layout)?, held.view::<u32>()?);
        // SAFETY: the kernel writes every one of its values before anything reads them.
        let y = unsafe { device.alloc::<T>(count(out))? };
        let mut builder = stream.launch_builder(&func);
        builder.arg(&x).arg(&taps).arg(&y).arg(&params);
        // SAFETY: these are the kernel's parameters in its order: three pointers and a structure of as many
        // words. There is a tap per row and column, and `Resize::taps` made them for this input's extents.
        unsafe { builder.launch(launch_of(params[0])) }.w()?;
        Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
    }
}

impl CustomOp1 for Resized<'_> {
    fn name(&self) -> &'static str {
        "resize"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("is for NVIDIA GPUs alone")
    }

    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (n, channels, _, _) = layout.shape().dims4()?;
        let out = [n, channels, self.size[0], self.size[1]];
        let y = match storage.dtype() {
            DType::F32 => self.run::<f32>(storage, layout, &out)?,
            DType::F16 => self.run::<f16>(storage, layout, &out)?,
            other => candle_core::bail!("has no kernel for {other:?}"),
        };
        Ok((y, Shape::from_dims(&out)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The structures are passed as words: were one field more or less in one of the two files, every later
    /// one would be read from the wrong place.
    #[test]
    fn parameters_are_as_long_as_the_kernels_expect() {
        for kind in ["f32", "f16"] {
            for (kernel, at, words) in [
                ("direct", 5, 21),
                ("direct_3", 5, 21),
                ("direct_5", 5, 21),
                ("epilogue", 3, 7),
                ("resize", 3, 5),
            ] {
                let line = format!(".param .align 4 .b8 {kernel}_{kind}_param_{at}[{}]", 4 * words);
                assert!(PTX.contains(&line), "{line}");
                assert!(PTX.contains(&format!(".visible .entry {kernel}_{kind}(")), "{kernel}_{kind}");
                assert!(!PTX.contains(&format!("{kernel}_{kind}_param_{}", at + 1)));
            }
        }
    }
}
