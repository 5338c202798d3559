/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_plan.h"
