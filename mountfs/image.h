/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODELDISK_IMAGE_H
#define MODELDISK_IMAGE_H

#endif
