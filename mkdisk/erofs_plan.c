/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs_plan.h"
