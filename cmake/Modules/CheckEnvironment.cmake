# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
#
# Stops the configuration when what is found would compile and then fail at import.

find_package(pybind11 REQUIRED)

# GNU Radio's types are invisible to bindings made with another pybind11 ("unknown base type").
find_program(GNURADIO_CONFIG_INFO gnuradio-config-info REQUIRED)
execute_process(COMMAND ${GNURADIO_CONFIG_INFO} --pybind OUTPUT_VARIABLE GNURADIO_PYBIND
                OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT pybind11_VERSION VERSION_EQUAL GNURADIO_PYBIND)
    message(
        FATAL_ERROR
            "GNU Radio was built with pybind11 ${GNURADIO_PYBIND}, but CMake found ${pybind11_VERSION} "
            "in ${pybind11_DIR}: install pybind11-dev of your distribution and pass "
            "-Dpybind11_DIR=/usr/lib/cmake/pybind11.")
endif()

execute_process(
    COMMAND ${PYTHON_EXECUTABLE} -c "import numpy; print(numpy.__version__)"
    OUTPUT_VARIABLE NUMPY_VERSION OUTPUT_STRIP_TRAILING_WHITESPACE
    ERROR_QUIET RESULT_VARIABLE NUMPY_FAILED)
if(NUMPY_FAILED)
    message(FATAL_ERROR "${PYTHON_EXECUTABLE} has no numpy: install python3-numpy.")
endif()
if(NUMPY_VERSION VERSION_GREATER_EQUAL 2)
    message(
        FATAL_ERROR
            "${PYTHON_EXECUTABLE} has numpy ${NUMPY_VERSION}, but GNU Radio ${Gnuradio_VERSION} needs "
            "numpy < 2: run '${PYTHON_EXECUTABLE} -m pip install \"numpy<2\"'.")
endif()

execute_process(
    COMMAND ${PYTHON_EXECUTABLE} -c "from gnuradio import gr"
    RESULT_VARIABLE GNURADIO_IMPORT_FAILED OUTPUT_QUIET ERROR_QUIET)
if(GNURADIO_IMPORT_FAILED)
    message(
        FATAL_ERROR
            "${PYTHON_EXECUTABLE} cannot import gnuradio: pass the interpreter that GNU Radio uses, "
            "-DPYTHON_EXECUTABLE=/usr/bin/python3 or a virtual environment made from it with "
            "--system-site-packages.")
endif()
message(STATUS "Checked: pybind11 ${pybind11_VERSION}, numpy ${NUMPY_VERSION}, ${PYTHON_EXECUTABLE}")
