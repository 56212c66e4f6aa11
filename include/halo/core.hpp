// halo/core.hpp: what every call has in common: errors, results, handles, callbacks.
//
// Nothing here knows a single function of halo.h, so nothing here falls behind it: call() takes any function that can fail,
// make() any that gives a handle. All is inline, so there is no ABI but that of C.
#ifndef HALO_CORE_HPP
#define HALO_CORE_HPP

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "../halo.h"

// 0 under -fno-exceptions: there only the try_ forms exist.
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS) || defined(_CPPUNWIND)
#define HALO_EXCEPTIONS 1
#else
#define HALO_EXCEPTIONS 0
#endif

namespace halo {

// A struct of halo.h, zeroed and with its size: HALO_INIT for expressions.
template <class Struct> Struct init() noexcept {
  Struct value{};
  value.struct_size = static_cast<std::uint32_t>(sizeof value);
  return value;
}

// Why a call failed: thrown by the plain forms, held by the result of the try_ forms.
class error : public std::exception {
public:
  error() noexcept : record_(init<halo_error>()) {}
  error(halo_status code, const std::string &site, const std::string &message) : error() {
    record_.code = code;
    record_.argument = -1;
    record_.example = -1;
    site.copy(record_.site, sizeof record_.site - 1);
    message.copy(record_.message, sizeof record_.message - 1);
  }

  const char *what() const noexcept override { return record_.message; }
  // HALO_E_*.
  halo_status code() const noexcept { return record_.code; }
  // A stable name of the check, such as "batch.logp".
  const char *site() const noexcept { return record_.site; }
  // The parameter at fault, counted from 0; -1 unknown.
  std::int32_t argument() const noexcept { return record_.argument; }
  // The row, record or line at fault, counted from 0; -1 unknown.
  std::int64_t example() const noexcept { return record_.example; }
  // What the host's callback returned.
  std::int32_t host_code() const noexcept { return record_.host_code; }
  halo_error *record() noexcept { return &record_; }

private:
  halo_error record_;
};

// A value, or why there is none: std::expected for C++17.
template <class T> class [[nodiscard]] result {
public:
  result(T value) : value_(std::move(value)) {}
  result(const halo::error &why) : error_(why) {}

  explicit operator bool() const noexcept { return value_.has_value(); }
  T &operator*() & noexcept { return *value_; }
  const T &operator*() const & noexcept { return *value_; }
  T &&operator*() && noexcept { return std::move(*value_); }
  T *operator->() noexcept { return &*value_; }
  const T *operator->() const noexcept { return &*value_; }
  // Only where there is no value.
  const halo::error &error() const noexcept { return error_; }
#if HALO_EXCEPTIONS
  T value() && {
    if (!value_) throw error_;
    return std::move(*value_);
  }
#endif

private:
  std::optional<T> value_;
  halo::error error_;
};

template <> class [[nodiscard]] result<void> {
public:
  result() noexcept = default;
  result(const halo::error &why) : error_(why) {}

  explicit operator bool() const noexcept { return error_.code() == HALO_OK; }
  const halo::error &error() const noexcept { return error_; }
#if HALO_EXCEPTIONS
  void value() const {
    if (!*this) throw error_;
  }
#endif

private:
  halo::error error_;
};

// Frees any handle. A new kind of handle is a new line.
struct deleter {
  void operator()(halo_blob *handle) const noexcept { halo_blob_free(handle); }
  void operator()(halo_cancel *handle) const noexcept { halo_cancel_free(handle); }
  void operator()(halo_dataset *handle) const noexcept { halo_dataset_free(handle); }
  void operator()(halo_loss *handle) const noexcept { halo_loss_free(handle); }
  void operator()(halo_refpoint *handle) const noexcept { halo_refpoint_free(handle); }
  void operator()(halo_session *handle) const noexcept { halo_session_free(handle); }
  void operator()(halo_trainer *handle) const noexcept { halo_trainer_free(handle); }
};

// Owns a handle of C.
template <class T> using handle = std::unique_ptr<T, deleter>;

namespace detail {

template <class T, class = void> struct wraps : std::false_type {};
template <class T> struct wraps<T, std::void_t<decltype(std::declval<T &>().get())>> : std::true_type {};

// Arguments as C takes them: of a string its characters, of a wrapper or handle its pointer, all else as it is.
template <class T> auto plain(T &&value) noexcept {
  if constexpr (std::is_same_v<std::decay_t<T>, std::string>) {
    return value.c_str();
  } else if constexpr (wraps<std::remove_reference_t<T>>::value) {
    return value.get();
  } else {
    return static_cast<std::decay_t<T>>(value);
  }
}

// Of halo_status f(.., T **out, halo_error *err): T.
template <class... P>
using made = std::remove_pointer_t<std::remove_pointer_t<std::tuple_element_t<sizeof...(P) - 2, std::tuple<P...>>>>;

} // namespace detail

// Calls a function of halo.h that can fail; its last parameter, the error record, is left out.
template <class... P, class... A> result<void> try_call(halo_status (*function)(P...), A &&...arguments) {
  static_assert(sizeof...(P) == sizeof...(A) + 1, "all parameters but the last, `halo_error *err`");
  error why;
  if (function(detail::plain(arguments)..., why.record()) == HALO_OK) return {};
  return why;
}

// The same for a function that gives a handle: its last two parameters are left out.
template <class... P, class... A>
result<handle<detail::made<P...>>> try_make(halo_status (*function)(P...), A &&...arguments) {
  detail::made<P...> *out = nullptr;
  const result<void> done = try_call(function, arguments..., &out);
  if (!done) return done.error();
  return handle<detail::made<P...>>(out);
}

#if HALO_EXCEPTIONS
template <class... P, class... A> void call(halo_status (*function)(P...), A &&...arguments) {
  try_call(function, arguments...).value();
}

template <class... P, class... A> auto make(halo_status (*function)(P...), A &&...arguments) {
  return try_make(function, arguments...).value();
}
#endif

// The header and the library that was loaded fit.
inline result<void> try_version_check() { return try_call(halo_version_check, HALO_ABI_VERSION); }
#if HALO_EXCEPTIONS
inline void version_check() { try_version_check().value(); }
#endif

// Keeps what callbacks throw, the first of it, until the call that they ran in has returned: no exception may cross the library.
class caught {
public:
  // What the callback returns; 1, a failure, if it threw.
  template <class Callback> std::int32_t run(Callback &&callback) noexcept {
#if HALO_EXCEPTIONS
    try {
      return callback();
    } catch (...) {
      if (!thrown_) thrown_ = std::current_exception();
      return 1;
    }
#else
    return callback();
#endif
  }

#if HALO_EXCEPTIONS
  // After the call.
  void rethrow() {
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
  }
  void forget() noexcept { thrown_ = nullptr; }

private:
  std::exception_ptr thrown_;
#else
  void rethrow() noexcept {}
  void forget() noexcept {}
#endif
};

} // namespace halo

#endif // HALO_CORE_HPP
