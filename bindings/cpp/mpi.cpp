// Data-parallel KTO over MPI: any number of ranks that divides eight comes to the weights of one, also after a failure.
#include <cstdio>

#include "bigram.hpp"
#include "halo/mpi.hpp"

namespace {

class ranked : public bigram {
public:
  int fails_at = -1;

  ranked() {
    sum = [](halo::span<double> values) { return halo::mpi::try_sum(values) ? 0 : 1; };
  }
  std::int32_t forward(const halo_work &work, halo::span<double> logps, halo::span<double> collisions) override {
    return fails_at-- == 0 ? 9 : bigram::forward(work, logps, collisions);
  }
};

} // namespace

int main(int count, char **arguments) {
  MPI_Init(&count, &arguments);
  const std::int32_t rank = halo::mpi::rank(), ranks = halo::mpi::size();
  int code = 0;
  try {
    halo::dataset data;
    fill(data);

    bigram alone;
    halo::trainer single(settings(8, 1));
    single.attach(data);
    halo::drive(single, alone);

    ranked together;
    together.fails_at = rank == ranks - 1 ? 4 : -1;
    together.retries = 1;
    halo::trainer trainer(settings(8 / ranks, 1), rank, ranks);
    trainer.attach(data);
    halo::drive(trainer, together);

    const double apart = distance(alone.policy, together.policy), moved = distance(alone.policy, bigram().policy);
    if (rank == 0) std::printf("mpi: %d ranks, one failed once; weights are %.1e from one rank's\n", ranks, apart);
    code = apart < 1e-12 && moved > 0.1 ? 0 : 1;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "rank %d: %s\n", rank, error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return code;
}
