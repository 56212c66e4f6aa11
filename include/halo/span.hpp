// halo/span.hpp: halo::span, which is std::span where there is one, else what halo needs of it.
#ifndef HALO_SPAN_HPP
#define HALO_SPAN_HPP

#if defined(__has_include)
#if __has_include(<version>)
#include <version>
#endif
#endif

#ifdef __cpp_lib_span
#include <span>

namespace halo {
template <class T> using span = std::span<T>;
} // namespace halo

#else
#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>

namespace halo {

// Borrowed elements, one after the other. It owns nothing: what it was made of must live as long.
template <class T> class span {
  // Data of arrays and vectors, but not of a derived class: only qualifiers may be added.
  template <class Container>
  using fits = std::enable_if_t<
      std::is_convertible_v<std::remove_pointer_t<decltype(std::data(std::declval<Container &>()))> (*)[], T (*)[]>>;

public:
  constexpr span() noexcept = default;
  constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <class Container, class = fits<Container>>
  constexpr span(Container &&container) noexcept : data_(std::data(container)), size_(std::size(container)) {}

  constexpr T *data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  constexpr T &operator[](std::size_t at) const { return data_[at]; }
  constexpr T &back() const { return data_[size_ - 1]; }
  constexpr T *begin() const noexcept { return data_; }
  constexpr T *end() const noexcept { return data_ + size_; }

private:
  T *data_ = nullptr;
  std::size_t size_ = 0;
};

} // namespace halo
#endif

#endif // HALO_SPAN_HPP
