"""What a practitioner can do about each cause, and how a cause is put in words."""

from __future__ import annotations

ADVICE = {
    "dominating_dimension": "Look at this dimension: drop it if it is no feature (a row number, a year, a count), or "
    "bring every dimension to unit deviation before anything is compared or searched.",
    "row_misalignment": "Join the files by id again: these rows are paired with other rows' vectors. Look at the step "
    "that sorted, sharded or filtered them.",
    "outliers": "Look at the inputs of these rows and at overflow in half precision; leave them out before anything is "
    "fitted or averaged.",
    "point_collapse": "Look at the inputs of these rows: a failed decoder, an empty text or a padding row gives one "
    "vector for many.",
    "common_direction": "Subtract this direction from the student's vectors, or train with a loss that sees single "
    "dimensions over the batch (CoSS's space term).",
    "dimension_rescaling": "Map the student linearly (--save-repair) or weigh its dimensions anew, or drop the layer "
    "that scales them (a norm's learned gain).",
    "cluster_merge": "Add examples that tell these classes apart, or weight them higher.",
    "cluster_tear": "See what splits this class: two sources, two encoders' shards, an augmentation.",
    "slice_failure": "Look at this class's inputs and add them to the training data; the rest is sound.",
    "offset": "Subtract the student's mean before cosines are taken.",
    "norm_loss": "Lengths carry nothing any more: add a loss that sees them (mean squared error, CoSS's space term), "
    "or use cosines only.",
    "class_collapse": "The student was trained on classes more than on the teacher: lower the weight of labels, and "
    "distil features.",
    "dimensional_collapse": "Few directions are in use: add a variance or decorrelation term, lower weight decay, or "
    "look for a bottleneck.",
    "truncated_dimensions": "Dimensions of the teacher are missing: compare widths and slicing at export.",
    "dead_dimensions": "These dimensions never change: look for dead units or a masked layer, and drop or revive them.",
    "quantisation": "Store the vectors in a finer type, or calibrate the scale of each dimension.",
    "saturation": "Widen the range before clipping or squashing; look for tanh, sigmoid, ReLU6 or int8 at the output.",
    "noise": "Look for dropout left on, low precision or stochastic preprocessing; average several passes.",
    "nonlinear_warp": "A nonlinear head bends the space: read the features before it, or map them back with a small "
    "network.",
    "hubness": "Use hubness reduction (mutual proximity, CSLS) in search, or centre the vectors.",
    "diffuse_loss": "Nothing specific: a larger student, longer training, more data or a closer loss is what is left. "
    "Where next to nothing is kept, see first that the student's weights were loaded, that its inputs were prepared as "
    "in training, and that the ids name the right rows.",
    "misaligned_head": "Read the student at the other side of its head.",
    "overfit": "The student keeps rows that it was trained on far better than others: train on more data, augment, or "
    "stop earlier.",
    "preprocessing": "Extract the student's features again under the condition that restored them.",
}

WORDS = {
    "dominating_dimension": "one dimension decides the distances",
    "unaligned_rows": "rows are in an unknown order, or the two spaces have nothing in common",
    "row_misalignment": "rows are paired with the wrong partner",
    "outliers": "a few rows are far out and decide the shape",
    "point_collapse": "many rows fell onto one point",
    "common_direction": "one direction that has nothing to do with the teacher drowns the others",
    "dimension_rescaling": "dimensions are scaled unevenly",
    "cluster_merge": "two classes have come together",
    "cluster_tear": "one class is torn in two",
    "slice_failure": "one class failed alone",
    "offset": "a shared offset hides the differences from cosines",
    "norm_loss": "vector lengths were lost",
    "class_collapse": "classes are drawn together, their inner structure is lost",
    "dimensional_collapse": "too few effective dimensions are in use",
    "truncated_dimensions": "dimensions of the teacher are missing",
    "dead_dimensions": "dimensions are dead",
    "quantisation": "values are rounded to few levels",
    "saturation": "values are clipped or pressed flat at the ends of their range",
    "noise": "isotropic loss of information, as by noise",
    "nonlinear_warp": "the space is bent",
    "hubness": "a few rows are everybody's neighbours",
    "diffuse_loss": "faithfulness is low everywhere, with nothing specific",
    "misaligned_head": "the head, not the backbone, lost it",
    "overfit": "only the rows that were trained on are kept",
    "preprocessing": "inputs were prepared in another way",
}
