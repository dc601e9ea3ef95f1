# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
#
# find_package(gnuradio-phydnn) gives the imported target gnuradio::gnuradio-phydnn.
include(CMakeFindDependencyMacro)
find_dependency(Gnuradio "3.10" COMPONENTS blocks fft fec)
include("${CMAKE_CURRENT_LIST_DIR}/gnuradio-phydnnTargets.cmake")
