/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_BINDINGS_DICTIONARY_ARRAYS_H
#define INCLUDED_PHYDNN_BINDINGS_DICTIONARY_ARRAYS_H

#include <gnuradio/block.h>
#include <pybind11/complex.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

namespace py = pybind11;

// A dictionary and what is looked up in it, as NumPy arrays.
using reals = py::array_t<float, py::array::c_style | py::array::forcecast>;
using complexes = py::array_t<gr_complex, py::array::c_style | py::array::forcecast>;

//! \p array itself, if it has so many dimensions. \throws std::invalid_argument if not
template <class Array>
const Array& require(const Array& array, int dimensions, const char* name)
{
    if (array.ndim() != dimensions)
        throw std::invalid_argument(std::string(name) + " must have " +
                                    std::to_string(dimensions) + " dimensions, not " +
                                    std::to_string(array.ndim()));
    return array;
}

template <class Array>
std::vector<typename Array::value_type> to_vector(const Array& array)
{
    return { array.data(), array.data() + array.size() };
}

#endif /* INCLUDED_PHYDNN_BINDINGS_DICTIONARY_ARRAYS_H */
