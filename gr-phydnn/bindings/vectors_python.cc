/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* BINDTOOL_HEADER_FILE(None) */
#include <gnuradio/gr_complex.h>
#include <pmt/pmt.h>
#include <pybind11/complex.h>
#include <pybind11/numpy.h>

namespace py = pybind11;

// pmt.to_python and pmt.to_pmt go through a Python list: half a second for the slices of
// one frame. These take microseconds.
namespace {

// The values of a vector in place: the array holds a reference to it.
template <class T>
py::array view(const pmt::pmt_t& vector, const T* (*elements)(pmt::pmt_t, size_t&))
{
    size_t size = 0;
    const T* values = elements(vector, size);
    py::capsule owner(new pmt::pmt_t(vector),
                      [](void* held) { delete static_cast<pmt::pmt_t*>(held); });
    py::array_t<T> array(size, values, owner);
    array.attr("setflags")(py::arg("write") = false);
    return std::move(array);
}

py::object to_array(const pmt::pmt_t& value)
{
    if (pmt::is_u8vector(value))
        return view<uint8_t>(value, pmt::u8vector_elements);
    if (pmt::is_s32vector(value))
        return view<int32_t>(value, pmt::s32vector_elements);
    if (pmt::is_f32vector(value))
        return view<float>(value, pmt::f32vector_elements);
    if (pmt::is_c32vector(value))
        return view<gr_complex>(value, pmt::c32vector_elements);
    return py::none();
}

template <class T>
using values = py::array_t<T, py::array::c_style>;

pmt::pmt_t to_vector(const py::array& array)
{
    if (py::isinstance<values<uint8_t>>(array))
        return pmt::init_u8vector(array.size(),
                                  static_cast<const uint8_t*>(array.data()));
    if (py::isinstance<values<int32_t>>(array))
        return pmt::init_s32vector(array.size(),
                                   static_cast<const int32_t*>(array.data()));
    if (py::isinstance<values<float>>(array))
        return pmt::init_f32vector(array.size(), static_cast<const float*>(array.data()));
    if (py::isinstance<values<gr_complex>>(array))
        return pmt::init_c32vector(array.size(),
                                   static_cast<const gr_complex*>(array.data()));
    throw py::type_error(
        "array must be contiguous and of uint8, int32, float32 or complex64");
}

} // namespace

void bind_vectors(py::module& m)
{
    m.def("to_array",
          &to_array,
          py::arg("vector"),
          R"(The values of a uniform vector, as a read-only array that shares its memory.

Returns None for a PMT that is no vector of uint8, int32, float32 or complex64.)");
    m.def("to_vector",
          &to_vector,
          py::arg("array"),
          R"(A uniform vector with the values of a contiguous array, row by row.

Raises TypeError for another type than uint8, int32, float32 or complex64.)");
}
