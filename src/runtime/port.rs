//! One input or output of a vendor runtime: memory that is bound once, and the way between its layout and
//! number format and the 32-bit floats, channels first, that [`Engine`](super::Engine) deals in.

use half::f16;

/// The number format of a tensor, as the runtime has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Element {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 8-bit integers: value = scale · (q - zero).
    I8 {
        /// Size of one step.
        scale: f32,
        /// The integer that means 0.
        zero: i32,
    },
    /// Unsigned 8-bit integers: value = scale · (q - zero).
    U8 {
        /// Size of one step.
        scale: f32,
        /// The integer that means 0.
        zero: i32,
    },
}

impl Element {
    /// `LiteRtElementType`
    pub fn litert(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::F16 => 10,
            Self::I8 { .. } => 9,
            Self::U8 { .. } => 3,
        }
    }

    /// Bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 { .. } | Self::U8 { .. } => 1,
        }
    }
}

/// A cache line: vendors ask for memory that starts on one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Memory of one tensor. Its address stays for as long as the port lives.
pub struct Port {
    element: Element,
    /// Extents as the runtime has them.
    shape: Vec<usize>,
    lines: Box<[Line]>,
    /// Channels-first values, where the runtime's memory holds them otherwise.
    staging: Vec<f32>,
    /// Whether the last of four axes is the channel.
    channels_last: bool,
}

impl Port {
    /// A port of `shape`. With `channels_last`, four axes are batch, row, column, channel in the runtime and
    /// are moved; other numbers of axes are the same in both.
    pub fn new(element: Element, shape: Vec<usize>, channels_last: bool) -> Self {
        let len: usize = shape.iter().product();
        // A line more than is needed: vector kernels read beyond the end.
        let lines = vec![Line([0; 64]); (len * element.size()).div_ceil(64) + 1].into_boxed_slice();
        let channels_last = channels_last && moves(&shape);
        let direct = element == Element::F32 && !channels_last;
        let staging = if direct { vec![] } else { vec![0.0; len] };
        Self { element, shape, lines, staging, channels_last }
    }

    /// The number format.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Extents as the runtime has them.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Length of the memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        self.len() * self.element.size()
    }

    /// Where the memory starts; a multiple of 64.
    pub fn address(&mut self) -> *mut std::ffi::c_void {
        self.lines.as_mut_ptr().cast()
    }

    fn raw<T: Copy>(&mut self) -> &mut [T] {
        let len = self.len();
        // SAFETY: the lines hold at least `len` values of the element's size, are aligned beyond any
        // number's need, and every pattern of bits is a number of the types this is called with.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), len) }
    }

    /// Values to be filled before [`send`](Self::send), channels first.
    pub fn values(&mut self) -> &mut [f32] {
        if self.staging.is_empty() { self.raw() } else { &mut self.staging }
    }

    /// Puts what was filled into the form that the runtime takes.
    pub fn send(&mut self) {
        if self.staging.is_empty() {
            return;
        }
        let staging = std::mem::take(&mut self.staging);
        let order = self.order();
        match self.element {
            Element::F32 => order.scatter(&staging, self.raw::<f32>(), |v| v),
            Element::F16 => order.scatter(&staging, self.raw::<f16>(), f16::from_f32),
            // Casts saturate, and NaN becomes 0.
            Element::I8 { scale, zero } => {
                order.scatter(&staging, self.raw::<i8>(), |v| ((v / scale).round() + zero as f32) as i8)
            }
            Element::U8 { scale, zero } => {
                order.scatter(&staging, self.raw::<u8>(), |v| ((v / scale).round() + zero as f32) as u8)
            }
        }
        self.staging = staging;
    }

    /// Reads what the runtime wrote, channels first.
    pub fn receive(&mut self, out: &mut [f32]) {
        let order = self.order();
        match self.element {
            Element::F32 => order.gather(self.raw::<f32>(), out, |v| v),
            Element::F16 => order.gather(self.raw::<f16>(), out, f16::to_f32),
            Element::I8 { scale, zero } => {
                order.gather(self.raw::<i8>(), out, |v| (i32::from(v) - zero) as f32 * scale);
            }
            Element::U8 { scale, zero } => {
                order.gather(self.raw::<u8>(), out, |v| (i32::from(v) - zero) as f32 * scale);
            }
        }
    }

    fn order(&self) -> Order {
        match self.shape[..] {
            [_, h, w, c] if self.channels_last => Order { pixels: h * w, channels: c },
            _ => Order { pixels: 1, channels: 1 },
        }
    }
}

/// Whether moving the channels changes the order of values at all.
fn moves(shape: &[usize]) -> bool {
    matches!(*shape, [_, h, w, c] if c > 1 && h * w > 1)
}

/// How `pixels × channels` values lie.
struct Order {
    pixels: usize,
    channels: usize,
}

impl Order {
    /// Channels-first values into the runtime's order.
    fn scatter<T>(&self, from: &[f32], to: &mut [T], convert: impl Fn(f32) -> T) {
        if self.channels == 1 {
            to.iter_mut().zip(from).for_each(|(t, f)| *t = convert(*f));
            return;
        }
        let picture = self.pixels * self.channels;
        for (from, to) in from.chunks_exact(picture).zip(to.chunks_exact_mut(picture)) {
            for (c, plane) in from.chunks_exact(self.pixels).enumerate() {
                let column = to[c..].iter_mut().step_by(self.channels);
                column.zip(plane).for_each(|(t, f)| *t = convert(*f));
            }
        }
    }

    /// The runtime's order into channels first.
    fn gather<T: Copy>(&self, from: &[T], to: &mut [f32], convert: impl Fn(T) -> f32) {
        if self.channels == 1 {
            to.iter_mut().zip(from).for_each(|(t, f)| *t = convert(*f));
            return;
        }
        let picture = self.pixels * self.channels;
        for (from, to) in from.chunks_exact(picture).zip(to.chunks_exact_mut(picture)) {
            for (c, plane) in to.chunks_exact_mut(self.pixels).enumerate() {
                let column = from[c..].iter().step_by(self.channels);
                plane.iter_mut().zip(column).for_each(|(t, f)| *t = convert(*f));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_move_there_and_back() {
        for element in [Element::F32, Element::F16, Element::I8 { scale: 0.5, zero: -3 }] {
            let mut port = Port::new(element, vec![1, 2, 2, 3], true);
            let values: Vec<f32> = (0..12).map(|v| v as f32).collect();
            port.values().copy_from_slice(&values);
            port.send();
            if element == Element::F32 {
                assert_eq!(port.raw::<f32>()[..4], [0.0, 4.0, 8.0, 1.0]);
            }
            let mut back = vec![0.0; 12];
            port.receive(&mut back);
            assert_eq!(back, values, "{element:?}");
        }
    }

    #[test]
    fn integers_are_rounded_and_limited() {
        let mut port = Port::new(Element::U8 { scale: 0.1, zero: 10 }, vec![4], false);
        port.values().copy_from_slice(&[0.26, -5.0, 99.0, f32::NAN]);
        port.send();
        assert_eq!(port.raw::<u8>(), [13, 0, 255, 0]);
    }

    #[test]
    fn plain_floats_are_not_copied() {
        let mut port = Port::new(Element::F32, vec![1, 3, 2, 2], false);
        assert_eq!(port.values().as_ptr().cast(), port.address().cast_const());
        assert_eq!(port.address() as usize % 64, 0);
    }
}
