//! The numbers of TFLite's schema (version 3), as far as endort writes or judges them.

/// `TensorType`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 32-bit integers.
    I32,
    /// Unsigned 8-bit integers.
    U8,
    /// 8-bit integers.
    I8,
    /// Anything else, by its number.
    Other(i8),
}

impl Kind {
    /// From the schema's number.
    pub fn from_code(code: i8) -> Self {
        match code {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::I32,
            3 => Self::U8,
            9 => Self::I8,
            _ => Self::Other(code),
        }
    }

    /// The schema's number.
    pub fn code(self) -> i8 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::I32 => 2,
            Self::U8 => 3,
            Self::I8 => 9,
            Self::Other(code) => code,
        }
    }

    /// Bytes of one element, where it is known.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::F32 | Self::I32 => Some(4),
            Self::F16 => Some(2),
            Self::U8 | Self::I8 => Some(1),
            Self::Other(_) => None,
        }
    }
}

/// An operator's number (`BuiltinOperator`).
pub type Code = i32;

/// Operators by number, with the schema's name.
macro_rules! operators {
    ($($name:ident = $code:literal,)+) => {
        $(#[doc = concat!("`BuiltinOperator::", stringify!($name), "`")] pub const $name: Code = $code;)+

        /// The schema's name of an operator.
        pub fn name(code: Code) -> Option<&'static str> {
            match code {
                $($code => Some(stringify!($name)),)+
                _ => None,
            }
        }
    };
}

operators! {
    ADD = 0,
    AVERAGE_POOL_2D = 1,
    CONCATENATION = 2,
    CONV_2D = 3,
    DEPTHWISE_CONV_2D = 4,
    DEQUANTIZE = 6,
    FLOOR = 8,
    FULLY_CONNECTED = 9,
    L2_NORMALIZATION = 11,
    LOGISTIC = 14,
    LSTM = 16,
    MAX_POOL_2D = 17,
    MUL = 18,
    RELU = 19,
    RELU_N1_TO_1 = 20,
    RELU6 = 21,
    RESHAPE = 22,
    RESIZE_BILINEAR = 23,
    SOFTMAX = 25,
    SPACE_TO_DEPTH = 26,
    TANH = 28,
    CUSTOM = 32,
    PAD = 34,
    GATHER = 36,
    TRANSPOSE = 39,
    MEAN = 40,
    SUB = 41,
    DIV = 42,
    SQUEEZE = 43,
    UNIDIRECTIONAL_SEQUENCE_LSTM = 44,
    STRIDED_SLICE = 45,
    EXP = 47,
    SPLIT = 49,
    PRELU = 54,
    MAXIMUM = 55,
    MINIMUM = 57,
    NEG = 59,
    PADV2 = 60,
    SLICE = 65,
    TRANSPOSE_CONV = 67,
    EXPAND_DIMS = 70,
    LOG = 73,
    SUM = 74,
    SQRT = 75,
    RSQRT = 76,
    POW = 78,
    REDUCE_MAX = 82,
    PACK = 83,
    REDUCE_MIN = 89,
    RESIZE_NEAREST_NEIGHBOR = 97,
    LEAKY_RELU = 98,
    SQUARED_DIFFERENCE = 99,
    MIRROR_PAD = 100,
    ABS = 101,
    CEIL = 104,
    ELU = 111,
    QUANTIZE = 114,
    HARD_SWISH = 117,
    BATCH_MATMUL = 126,
    BROADCAST_TO = 130,
}

/// `ActivationFunctionType`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fused {
    /// Nothing.
    #[default]
    None = 0,
    /// max(x, 0).
    Relu = 1,
    /// Limits to -1..1.
    ReluN1To1 = 2,
    /// Limits to 0..6.
    Relu6 = 3,
}

/// `Padding`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// As much as makes the output's extent ⌈input / stride⌉, more of it at the end.
    Same = 0,
    /// None.
    Valid = 1,
}
