// halo/mpi.hpp: sums over the ranks of an MPI communicator, for halo::host::reduce, halo::torch::kto_loss and loops of your own.
#ifndef HALO_MPI_HPP
#define HALO_MPI_HPP

#include <cstdint>
#include <string>

#include <mpi.h>

#include "core.hpp"
#include "span.hpp"

namespace halo::mpi {

inline std::int32_t rank(MPI_Comm comm = MPI_COMM_WORLD) {
  int rank = 0;
  MPI_Comm_rank(comm, &rank);
  return rank;
}

inline std::int32_t size(MPI_Comm comm = MPI_COMM_WORLD) {
  int size = 1;
  MPI_Comm_size(comm, &size);
  return size;
}

// Adds double or float over the ranks, in place. Every rank gets the same bits, which MPI_Allreduce does not promise and halo asks
// for: clamps and schedules must not part ways.
template <class Real> result<void> try_sum(span<Real> values, MPI_Comm comm = MPI_COMM_WORLD) {
  static_assert(std::is_same_v<Real, float> || std::is_same_v<Real, double>, "sums are of float or double");
  const MPI_Datatype type = sizeof(Real) == sizeof(float) ? MPI_FLOAT : MPI_DOUBLE;
  // Lengths of MPI are ints.
  constexpr std::size_t most = std::size_t{1} << 30;
  for (std::size_t start = 0; start < values.size(); start += most) {
    Real *const from = values.data() + start;
    const int count = static_cast<int>(values.size() - start < most ? values.size() - start : most);
    const void *const mine = rank(comm) == 0 ? MPI_IN_PLACE : from;
    int code = MPI_Reduce(mine, from, count, type, MPI_SUM, 0, comm);
    if (code == MPI_SUCCESS) code = MPI_Bcast(from, count, type, 0, comm);
    if (code != MPI_SUCCESS) return error(HALO_E_PEER, "mpi.sum", "MPI answers " + std::to_string(code));
  }
  return {};
}

#if HALO_EXCEPTIONS
template <class Real> void sum(span<Real> values, MPI_Comm comm = MPI_COMM_WORLD) { try_sum(values, comm).value(); }
#endif

} // namespace halo::mpi

#endif // HALO_MPI_HPP
