"""Settings and inputs that a record may hold although no adapter reads them: they describe the record, or the
peer does not use them there."""

from fnmatch import fnmatch

from golden.records import Record

HARMLESS: tuple[tuple[str, tuple[str, ...]], ...] = (
    # Which rows hit the limit, where the mask and the lengths say all that counts; how many rows a group has,
    # where an index names the groups; texts.
    ("*", ("truncated", "row_lengths", "num_generations", "n_samples_per_prompt", "num_samples")),
    ("*.advantage.*", ("group_index", "rewards")),  # where there are no groups, or rewards by token too
    ("areal.util.normalization", ("group_index", "eps", "std_unbiased", "mean_leave1out")),
    ("prime_rl.loss.*", ("normalizer",)),
    # A total of the global batch beside a mean that does not divide by it.
    ("*.loss.*", ("dp_size", "batch_num_tokens", "global_batch_size", "loss_scale_factor")),
    ("*.loss.value", ("huber_delta",)),
    # Losses that average in one way only, whatever the mode.
    ("verl.loss.g*", ("loss_agg_mode",)),
    ("verl.loss.sapo", ("loss_agg_mode",)),
    # The sampler's log-probs are an input of every loss; some only measure by them.
    ("*.loss.*", ("rollout_logprobs",)),
    # REINFORCE does not clip; without a level nothing is weighed, without a filter nothing rejected.
    (
        "verl.loss.bypass_mode",
        ("clip_low", "clip_high", "dual_clip", "rollout_rs_threshold", "rollout_is_batch_normalize"),
    ),
    ("*.advantage.grpo*", ("ddof",)),  # where nothing is divided
    ("*.advantage.rloo*", ("epsilon",)),
    # SkyRL's losses have ranges and bounds of their own; micro-batches divide only the legacy mean.
    (
        "skyrl.loss.*",
        ("eps_clip_low", "eps_clip_high", "micro_batch_size", "max_seq_len", "prompt_boundaries"),
    ),
    ("skyrl.loss.*", ("clip_ratio_c", "off_policy_correction")),
    ("skyrl.loss.cispo", ("old_logprobs",)),  # where the ratio is to the sampler
    # Estimators without a critic.
    ("openrlhf.advantage.[!g]*", ("values", "lam", "no_std_norm", "gamma")),
    ("openrlhf.advantage.group_norm", ("values", "lam", "no_std_norm", "gamma")),
    # GSPO weighs nothing and averages over rows.
    ("openrlhf.loss.policy", ("token_level_loss", "vllm_is_truncated_threshold", "vllm_is_correction_type")),
    ("spo.advantage.group", ("std_eps",)),  # of its leave-one-out
    ("spo.advantage.tree", ("max_depth", "only_nonzero")),
    ("spo.advantage.chain", ("boundary_values",)),  # an output too, and compared as such
    ("spo.advantage.gae", ("ddof", "eps", "rescale_only")),
    ("spo.loss.policy", ("threshold", "kl_coef", "ref_logprobs")),
    ("spo.util.masked_whiten_prob", ("threshold", "old_logprobs")),  # where it does not mask
    ("*.advantage.gae", ("whiten_ddof", "whiten_eps")),  # NeMo-RL's, where it does not whiten
    ("nemo_rl.advantage.*", ("kl_coef", "kl_type", "std_eps", "old_logprobs", "ref_logprobs")),
    (
        "nemo_rl.loss.clipped_pg",
        # Bounds and options of a part that another option replaces.
        (
            "ratio_clip_min",
            "ratio_clip_max",
            "ratio_clip_c",
            "sequence_level_importance_ratios",
            "disable_ppo_ratio",
            "use_cispo",
            "old_logprobs",
            "ref_logprobs",
            "rewards",
            "reference_policy_kl_type",
            "kl_input_clamp_value",
            "kl_output_clamp_value",
            "use_on_policy_kl_approximation",
            "global_valid_seqs",
            "global_valid_toks",
        ),
    ),
    ("nemo_rl.loss.dpo", ("sft_average_log_probs",)),
    ("dpo_reference.loss.preference", ("reference_chosen_logps", "reference_rejected_logps")),
    ("trl.loss.cpo_simpo", ("alpha", "simpo_gamma", "label_smoothing")),  # of the losses that have them
    (
        "trl.loss.dpo",
        ("f_alpha_divergence_coef", "discopop_tau", "policy_chosen_logps", "policy_rejected_logps"),
    ),
    ("trl.advantage.*", ("scale_rewards",)),  # where each reward is scaled before the sum
    ("oat.advantage.monte_carlo", ("ddof", "std_eps")),
    ("trl.advantage.*", ("norm_eps", "ddof", "std_eps", "old_logprobs", "ref_logprobs")),
    (
        "trl.loss.gr*",
        # Of the losses that have them.
        (
            "epsilon_low",
            "epsilon_high",
            "delta",
            "num_items_in_batch",
            "gradient_accumulation_steps",
            "max_completion_length",
            "importance_sampling_level",
            "sapo_temperature_pos",
            "sapo_temperature_neg",
            "vespo_k_pos",
            "vespo_k_neg",
            "vespo_lambda_pos",
            "vespo_lambda_neg",
            "use_bias_correction_kl",
            "ref_logprobs",
            "entropies",
        ),
    ),
    (
        "trl.loss.gmpo",
        (
            "loss_type",
            "importance_sampling_level",
            "off_policy_mask_threshold",
            "vllm_importance_sampling_correction",
            "importance_sampling_ratio",
            "max_completion_length",
            "num_items_in_batch",
            "entropy_coef",
            "entropies",
            "ref_logprobs",
            "delta",
            "use_bias_correction_kl",
        ),
    ),
    ("*.util.*", ("ddof", "eps")),
)
"""Pattern of a function -> names."""


def harmless(record: Record) -> set[str]:
    return {name for pattern, names in HARMLESS if fnmatch(record.function, pattern) for name in names}
