// Kernels for NVIDIA GPUs that candle lacks: cuda.rs loads what this file compiles to, kernels.ptx, and the GPU's
// driver translates that for the card. To make kernels.ptx again, with NVRTC of CUDA 11.8 (the oldest at hand, whose
// PTX 7.8 for compute_60 every driver and card takes that candle's own kernels run on; no GPU is needed):
//
//   python3 -m pip install --no-deps --target nvrtc nvidia-cuda-nvrtc-cu11==11.8.89
//   python3 tools/ptx nvrtc src/runtime/candle/kernels.cu src/runtime/candle/kernels.ptx
//
// or, to the same effect, with the whole toolkit: nvcc -ptx -std=c++14 -arch=compute_60 -o kernels.ptx kernels.cu
//
// Nothing is included, so that nothing but the compiler is needed. All sums are in 32 bits, whatever is stored.
// Every size and index fits 31 bits: cuda.rs sees to that.

// A 16-bit float as it is stored.
struct Half {
    unsigned short bits;
};

#ifdef __CUDACC__
__device__ __forceinline__ float widen(Half h) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h.bits));
    return f;
}

__device__ __forceinline__ Half narrow(float f) {
    Half h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.bits) : "f"(f));
    return h;
}
#endif

__device__ __forceinline__ float load(const float* p, unsigned i) { return p[i]; }
__device__ __forceinline__ float load(const Half* p, unsigned i) { return widen(p[i]); }
__device__ __forceinline__ void store(float* p, unsigned i, float v) { p[i] = v; }
__device__ __forceinline__ void store(Half* p, unsigned i, float v) { p[i] = narrow(v); }

// What follows a convolution's sum. As `Finish` in cuda.rs, field by field.
struct Finish {
    // A residual is 0: absent, 1: added before the limits, 2: added after them.
    unsigned residual;
    // Activation: limits to low..=high where `limited` is not 0.
    unsigned limited;
    float low, high;
};

// `channel` and `i` say where in `bias` (or null) and `residual`. What is not a number stays so.
template <typename T>
__device__ __forceinline__ float finish(const Finish& f, float v, const T* bias, const T* residual, unsigned channel,
                                        unsigned i) {
    if (bias) v += load(bias, channel);
    float r = f.residual ? load(residual, i) : 0.0f;
    if (f.residual == 1) v += r;
    if (f.limited) v = v < f.low ? f.low : (v > f.high ? f.high : v);
    if (f.residual == 2) v += r;
    return v;
}

// As `Direct` in cuda.rs, field by field.
struct Direct {
    unsigned total;                   // output values
    unsigned in_channels, in_height, in_width;
    unsigned out_channels, out_height, out_width;
    unsigned group_in, group_out;     // channels per group
    unsigned kernel_height, kernel_width;
    unsigned stride_y, stride_x, dilation_y, dilation_x;
    unsigned top, left;               // padding
    Finish finish;
};

// A convolution whose sums are short (depthwise above all): one thread per output value, no memory in between.
// K is the extent of a square kernel, for the compiler to unroll, or 0.
template <typename T, int K>
__device__ __forceinline__ void direct(const T* __restrict__ x, const T* __restrict__ weights,
                                       const T* __restrict__ bias, const T* __restrict__ residual, T* __restrict__ y,
                                       const Direct& p) {
    const unsigned rows = K ? K : p.kernel_height, columns = K ? K : p.kernel_width;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < p.total; i += gridDim.x * blockDim.x) {
        unsigned at = i / p.out_width;
        const int left = (int)((i - at * p.out_width) * p.stride_x) - (int)p.left;
        const unsigned above = at / p.out_height;
        const int top = (int)((at - above * p.out_height) * p.stride_y) - (int)p.top;
        const unsigned picture = above / p.out_channels, channel = above - picture * p.out_channels;
        const unsigned plane = p.in_height * p.in_width;
        const T* from = x + (picture * p.in_channels + channel / p.group_out * p.group_in) * plane;
        const T* weight = weights + channel * p.group_in * rows * columns;
        float sum = 0.0f;
        for (unsigned c = 0; c < p.group_in; c++, from += plane, weight += rows * columns) {
#pragma unroll
            for (unsigned u = 0; u < rows; u++) {
                // Below zero is far above every extent once it is unsigned.
                const unsigned row = (unsigned)(top + (int)(u * p.dilation_y));
                if (row >= p.in_height) continue;
#pragma unroll
                for (unsigned v = 0; v < columns; v++) {
                    const unsigned column = (unsigned)(left + (int)(v * p.dilation_x));
                    if (column < p.in_width)
                        sum += load(from, row * p.in_width + column) * load(weight, u * columns + v);
                }
            }
        }
        store(y, i, finish(p.finish, sum, bias, residual, channel, i));
    }
}

// As `Epilogue` in cuda.rs, field by field.
struct Epilogue {
    unsigned total, channels, plane;
    Finish finish;
};

// What follows the sum, on sums that are in `y` already.
template <typename T>
__device__ __forceinline__ void epilogue(T* __restrict__ y, const T* __restrict__ bias, const T* __restrict__ residual,
                                         const Epilogue& p) {
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < p.total; i += gridDim.x * blockDim.x)
        store(y, i, finish(p.finish, load(y, i), bias, residual, i / p.plane % p.channels, i));
}

// As `Resize` in cuda.rs, field by field.
struct Resize {
    unsigned total, in_height, in_width, out_height, out_width;
};

// Where a row or column comes from; the last is a float's bits: the share of the second.
struct Tap {
    unsigned low, high;
    float fraction;
};

// `taps` has one entry per output row, then one per output column.
template <typename T>
__device__ __forceinline__ void resize(const T* __restrict__ x, const Tap* __restrict__ taps, T* __restrict__ y,
                                       const Resize& p) {
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < p.total; i += gridDim.x * blockDim.x) {
        const unsigned at = i / p.out_width, plane = at / p.out_height;
        const Tap down = taps[at - plane * p.out_height], right = taps[p.out_height + i - at * p.out_width];
        const T* from = x + plane * p.in_height * p.in_width;
        const unsigned low = down.low * p.in_width, high = down.high * p.in_width;
        const float above = load(from, low + right.low) * (1.0f - right.fraction) +
                            load(from, low + right.high) * right.fraction;
        const float below = load(from, high + right.low) * (1.0f - right.fraction) +
                            load(from, high + right.high) * right.fraction;
        store(y, i, above * (1.0f - down.fraction) + below * down.fraction);
    }
}

#define DIRECT(NAME, T, K)                                                                                      \
    extern "C" __global__ void NAME(const T* x, const T* weights, const T* bias, const T* residual, T* y,       \
                                    const Direct p) {                                                           \
        direct<T, K>(x, weights, bias, residual, y, p);                                                         \
    }
#define OTHERS(TYPE, T)                                                                                         \
    extern "C" __global__ void epilogue_##TYPE(T* y, const T* bias, const T* residual, const Epilogue p) {      \
        epilogue<T>(y, bias, residual, p);                                                                      \
    }                                                                                                           \
    extern "C" __global__ void resize_##TYPE(const T* x, const Tap* taps, T* y, const Resize p) {               \
        resize<T>(x, taps, y, p);                                                                               \
    }

DIRECT(direct_f32, float, 0)
DIRECT(direct_3_f32, float, 3)
DIRECT(direct_5_f32, float, 5)
DIRECT(direct_f16, Half, 0)
DIRECT(direct_3_f16, Half, 3)
DIRECT(direct_5_f16, Half, 5)
OTHERS(f32, float)
OTHERS(f16, Half)
