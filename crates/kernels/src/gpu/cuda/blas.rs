//! Matrix products by cuBLAS, whose matrices are column-major.

use std::ffi::{c_int, c_void};

use cudarc::cublas::result::{self, CublasError};
use cudarc::cublas::sys::{
    self, cublasComputeType_t, cublasGemmAlgo_t, cublasHandle_t, cublasMath_t, cublasOperation_t,
    cudaDataType,
};
use cudarc::driver::sys::{CUdeviceptr, CUstream};

use super::super::Dtype;
use super::super::driver::Gemm;
use super::failed;
use crate::Error;

pub(super) const OP: &str = "gpu::gemm";

/// What cuBLAS asks for on Hopper. Its own pool would allocate within a step.
const WORKSPACE: usize = 32 << 20;

pub(super) struct Blas {
    handle: cublasHandle_t,
    workspace: CUdeviceptr,
}

impl Blas {
    pub(super) fn new(stream: CUstream) -> Result<Blas, Error> {
        let handle = result::create_handle().map_err(refused("starting cuBLAS"))?;
        let mut blas = Blas {
            handle,
            workspace: 0,
        };
        // SAFETY: freed once, in drop.
        blas.workspace = unsafe { cudarc::driver::result::malloc_sync(WORKSPACE) }
            .map_err(failed(OP, "cuBLAS's workspace"))?;
        // The stream first: setting it takes the workspace away.
        // SAFETY: handle, stream and workspace are alive; sums of bf16 products stay in f32 where a product is split.
        unsafe {
            result::set_stream(handle, stream.cast()).map_err(refused("cuBLAS's stream"))?;
            sys::cublasSetWorkspace_v2(handle, blas.workspace as *mut c_void, WORKSPACE)
                .result()
                .map_err(refused("cuBLAS's workspace"))?;
            sys::cublasSetMathMode(
                handle,
                cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION,
            )
            .result()
            .map_err(refused("cuBLAS's mode"))?;
        }
        Ok(blas)
    }

    /// # Safety
    /// a, b and c are runs of device memory of m·k, k·n and m·n elements.
    pub(super) unsafe fn gemm(&self, gemm: &Gemm) -> Result<(), Error> {
        let Some(call) = Call::new(gemm)? else {
            return Ok(());
        };
        // SAFETY: the caller's promise, and `Call` gives cuBLAS the same matrices.
        unsafe {
            result::gemm_ex(
                self.handle,
                operation(call.transpose_left),
                operation(call.transpose_right),
                call.rows,
                call.cols,
                call.depth,
                (&raw const gemm.alpha).cast(),
                call.left as *const c_void,
                data_type(gemm.operands)?,
                call.left_stride,
                call.right as *const c_void,
                data_type(gemm.operands)?,
                call.right_stride,
                (&raw const gemm.beta).cast(),
                gemm.c as *mut c_void,
                data_type(gemm.output)?,
                call.rows,
                // f32 sums; f32 operands are not cut to TF32.
                cublasComputeType_t::CUBLAS_COMPUTE_32F,
                cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .map_err(|error| {
            let Gemm { m, n, k, .. } = gemm;
            refused(&format!("the product ({m}, {k}) · ({k}, {n})"))(error)
        })
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: both are ours, and the driver has waited for the stream.
        unsafe {
            let _ = result::destroy_handle(self.handle);
            if self.workspace != 0 {
                let _ = cudarc::driver::result::free_sync(self.workspace);
            }
        }
    }
}

/// The column-major product that is the row-major one: cᵀ = op(b)ᵀ · op(a)ᵀ, and a row-major matrix read as column-major *is*
/// its transpose. So the operands change places, keep their flags, and their stride is the length of a stored row.
struct Call {
    left: u64,
    right: u64,
    transpose_left: bool,
    transpose_right: bool,
    rows: c_int,
    cols: c_int,
    depth: c_int,
    left_stride: c_int,
    right_stride: c_int,
}

impl Call {
    /// Nothing where the destination is empty.
    fn new(gemm: &Gemm) -> Result<Option<Call>, Error> {
        if gemm.m == 0 || gemm.n == 0 {
            return Ok(None);
        }
        let size = |value: usize| {
            c_int::try_from(value).map_err(|_| Error::shape(OP, "a dimension does not fit 31 bits"))
        };
        // A stride of zero, that of an empty matrix, is refused.
        let stride = |value: usize| size(value.max(1));
        Ok(Some(Call {
            left: gemm.b,
            right: gemm.a,
            transpose_left: gemm.transpose_b,
            transpose_right: gemm.transpose_a,
            rows: size(gemm.n)?,
            cols: size(gemm.m)?,
            depth: size(gemm.k)?,
            left_stride: stride(if gemm.transpose_b { gemm.k } else { gemm.n })?,
            right_stride: stride(if gemm.transpose_a { gemm.m } else { gemm.k })?,
        }))
    }
}

fn operation(transpose: bool) -> cublasOperation_t {
    match transpose {
        true => cublasOperation_t::CUBLAS_OP_T,
        false => cublasOperation_t::CUBLAS_OP_N,
    }
}

fn data_type(dtype: Dtype) -> Result<cudaDataType, Error> {
    match dtype {
        Dtype::F32 => Ok(cudaDataType::CUDA_R_32F),
        Dtype::Bf16 => Ok(cudaDataType::CUDA_R_16BF),
        _ => Err(Error::shape(OP, "a matrix is neither f32 nor bf16")),
    }
}

fn refused(what: &str) -> impl FnOnce(CublasError) -> Error + '_ {
    move |error| Error::device(OP, format!("{what} failed: {:?}", error.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cuBLAS computes from a call, by its documentation: column-major, c (rows, cols).
    fn column_major(call: &Call, left: &[f32], right: &[f32]) -> Vec<f32> {
        let (rows, cols, depth) = (call.rows as usize, call.cols as usize, call.depth as usize);
        let at = |matrix: &[f32], stride: c_int, transpose: bool, row: usize, col: usize| {
            let (row, col) = if transpose { (col, row) } else { (row, col) };
            matrix[row + col * stride as usize]
        };
        let mut c = vec![0.0; rows * cols];
        for row in 0..rows {
            for col in 0..cols {
                c[row + col * rows] = (0..depth)
                    .map(|i| {
                        at(left, call.left_stride, call.transpose_left, row, i)
                            * at(right, call.right_stride, call.transpose_right, i, col)
                    })
                    .sum();
            }
        }
        c
    }

    fn stored(
        rows: usize,
        cols: usize,
        transpose: bool,
        value: impl Fn(usize, usize) -> f32,
    ) -> Vec<f32> {
        match transpose {
            false => (0..rows * cols)
                .map(|i| value(i / cols, i % cols))
                .collect(),
            true => (0..rows * cols)
                .map(|i| value(i % rows, i / rows))
                .collect(),
        }
    }

    #[test]
    fn the_column_major_call_is_the_row_major_product() {
        let (m, n, k) = (2, 3, 5);
        let a = |row: usize, col: usize| (row * 7 + col * col) as f32;
        let b = |row: usize, col: usize| (row * 3) as f32 - (col * col * 2) as f32;
        let expected: Vec<f32> = (0..m * n)
            .map(|i| (0..k).map(|d| a(i / n, d) * b(d, i % n)).sum())
            .collect();
        for (transpose_a, transpose_b) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let gemm = Gemm {
                a: 1,
                b: 2,
                c: 3,
                m,
                n,
                k,
                transpose_a,
                transpose_b,
                operands: Dtype::F32,
                output: Dtype::F32,
                alpha: 1.0,
                beta: 0.0,
            };
            let call = Call::new(&gemm).unwrap().unwrap();
            assert_eq!((call.left, call.right), (2, 1));
            let c = column_major(
                &call,
                &stored(k, n, transpose_b, b),
                &stored(m, k, transpose_a, a),
            );
            assert_eq!(c, expected, "{transpose_a} {transpose_b}");
        }
    }
}
