//! Functions of one value: activations and elementary mathematics.

/// A function that maps each value on its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    /// max(x, 0).
    Relu,
    /// Limits to `min..=max`; ReLU6 is `0..=6`.
    Clip {
        /// Lower limit.
        min: f32,
        /// Upper limit.
        max: f32,
    },
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// clamp(alpha x + beta, 0, 1).
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Offset.
        beta: f32,
    },
    /// x · clamp(x/6 + 1/2, 0, 1) (Howard et al., Searching for MobileNetV3, 2019).
    HardSwish,
    /// x · sigmoid(x), also called Swish.
    Silu,
    /// x, or alpha x below zero.
    LeakyRelu {
        /// Slope below zero.
        alpha: f32,
    },
    /// x, or alpha (e^x - 1) below zero.
    Elu {
        /// Scale below zero.
        alpha: f32,
    },
    /// ln(1 + e^x).
    Softplus,
    /// Hyperbolic tangent.
    Tanh,
    /// Gauss error function.
    Erf,
    /// e^x.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// 1 / x.
    Reciprocal,
    /// -x.
    Neg,
    /// |x|.
    Abs,
    /// Largest integer not above x.
    Floor,
    /// Smallest integer not below x.
    Ceil,
    /// scale · clamp(round(x / scale), low, high): onto an integer grid and back, halves to even.
    Grid {
        /// Distance of neighbouring values.
        scale: f32,
        /// Lowest multiple of the scale.
        low: f32,
        /// Highest multiple of the scale.
        high: f32,
    },
}

impl Unary {
    /// ReLU6.
    pub const RELU6: Self = Self::Clip { min: 0.0, max: 6.0 };

    /// The function's value at `x`.
    pub fn apply(self, x: f32) -> f32 {
        match self {
            // `f32::max` would turn NaN into 0 and hide a broken network.
            Self::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Self::Clip { min, max } => {
                if x < min {
                    min
                } else if x > max {
                    max
                } else {
                    x
                }
            }
            Self::Sigmoid => sigmoid(x),
            Self::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::Silu => x * sigmoid(x),
            Self::LeakyRelu { alpha } if x < 0.0 => alpha * x,
            Self::Elu { alpha } if x < 0.0 => alpha * x.exp_m1(),
            Self::LeakyRelu { .. } | Self::Elu { .. } => x,
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::Tanh => x.tanh(),
            Self::Erf => erf(x),
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Sqrt => x.sqrt(),
            Self::Reciprocal => x.recip(),
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Grid { scale, low, high } => (x / scale).round_ties_even().clamp(low, high) * scale,
        }
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26, in double precision (error < 1.5e-7).
fn erf(x: f32) -> f32 {
    let z = f64::from(x.abs());
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let poly = t
        * (0.254_829_592
            + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let y = 1.0 - poly * (-z * z).exp();
    (if x < 0.0 { -y } else { y }) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_have_their_textbook_values() {
        let close = |u: Unary, x: f32, y: f32| {
            let got = u.apply(x);
            assert!((got - y).abs() < 1e-5, "{u:?}({x}) = {got}, expected {y}");
        };
        close(Unary::Relu, -2.0, 0.0);
        close(Unary::RELU6, 7.5, 6.0);
        close(Unary::Sigmoid, 1.0, 0.731_058_6);
        close(Unary::Silu, 2.0, 1.761_594_2);
        close(Unary::HardSwish, 1.0, 0.666_666_7);
        close(Unary::HardSwish, -4.0, 0.0);
        close(Unary::HardSigmoid { alpha: 0.2, beta: 0.5 }, 1.0, 0.7);
        close(Unary::LeakyRelu { alpha: 0.1 }, -3.0, -0.3);
        close(Unary::Elu { alpha: 1.0 }, -1.0, -0.632_120_55);
        close(Unary::Softplus, 0.0, std::f32::consts::LN_2);
        close(Unary::Erf, 0.5, 0.520_499_9);
        close(Unary::Erf, -1.0, -0.842_700_8);
    }

    #[test]
    fn nan_is_not_hidden() {
        assert!(Unary::Relu.apply(f32::NAN).is_nan());
        assert!(Unary::RELU6.apply(f32::NAN).is_nan());
    }
}
