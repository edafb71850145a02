"""Names of settings in other libraries (TRL, verl, OpenRLHF, slime, prime-rl, NeMo-RL), and what they are
here."""

from collections.abc import Collection, Iterator, Mapping
from difflib import SequenceMatcher, get_close_matches
from typing import Any

SETTINGS: dict[str, str] = {
    "learning_rate": "lr actor_lr actor_learning_rate policy_lr optim_lr step_size",
    "critic.learning_rate": "critic_lr critic_learning_rate value_lr critic.optim.lr critic.lr",
    "samples_per_prompt": (
        "rollouts samples num_answers answers_per_prompt answers_per_question g "
        "num_generations n group_size rollout.n n_samples_per_prompt num_samples_per_prompt "
        "rollouts_per_example num_return_sequences num_return_sequences_in_group responses_per_prompt "
        "num_generations_per_prompt samples_per_question generations_per_prompt n_samples num_samples "
        "rollout_n grpo_n num_rollouts rloo_k best_of_n_eval_num_samples"
    ),
    "max_new_tokens": (
        "max_completion_length max_response_length generate_max_len rollout_max_response_len "
        "response_length max_tokens max_gen_len max_length max_output_tokens max_generated_tokens "
        "max_completion_tokens generation_max_length max_gen_length completion_length max_seq_len "
        "max_seq_length seq_len max_total_sequence_length"
    ),
    "prompts_per_step": (
        "rollout_batch_size num_prompts_per_step prompts_per_rollout num_prompts batch_prompts "
        "prompts_per_batch"
    ),
    "updates_per_step": (
        "steps_per_generation num_steps_per_rollout gradient_steps num_updates num_policy_updates"
    ),
    "steps": (
        "max_steps total_training_steps num_rollout num_steps total_steps max_iterations n_steps "
        "num_training_steps train_steps total_iterations num_grpo_iterations max_num_steps iterations iters "
        "training_steps"
    ),
    "save_every": "save_steps save_freq save_interval save save_step checkpoint_interval ckpt_interval",
    "evaluate_every": (
        "eval_steps test_freq eval_interval eval_every eval_freq val_period val_interval eval_step "
        "eval_strategy evaluation_strategy evaluation_steps"
    ),
    "warmup_updates": "warmup warmup_steps lr_warmup_steps num_warmup_steps lr_warmup_iters warmup_iters",
    "schedule": "lr_scheduler lr_scheduler_type lr_schedule lr_decay_style scheduler warmup_style lr_decay",
    "total_updates": "lr_decay_steps lr_decay_iters decay_steps",
    "final_fraction": "min_lr_ratio",
    "clip_norm": (
        "max_grad_norm grad_clip clip_grad max_norm gradient_clipping grad_norm_clip clip_grad_norm "
        "gradient_clip_val"
    ),
    "weight_decay": "wd adam_weight_decay l2",
    "betas": "adam_betas adam_beta1 adam_beta2 beta1 beta2",
    "model": (
        "model_name_or_path model_name model_path pretrain hf_checkpoint model.path base_model model_id "
        "pretrained_model policy_model actor_model load ref_load policy.model_name pretrained checkpoint"
    ),
    "data": (
        "dataset dataset_name train_dataset prompt_data train_files train_file dataset_path data_path "
        "train_data train_data_path data_file dataset_name_or_path data_files data.train_files"
    ),
    "heldout_data": (
        "eval_dataset val_files eval_data test_data eval_prompt_data val_file eval_file validation_data "
        "test_dataset val_dataset data.val_files test_data_path"
    ),
    "heldout": "eval_size val_size test_size num_eval_samples n_eval max_eval_samples",
    "columns.question": (
        "prompt_key input_key prompt_column question_key input_column prompt_field question_column"
    ),
    "columns.answer": "label_key answer_key answer_column label_column ground_truth_key target_column",
    "template_arguments": "chat_template_kwargs apply_chat_template_kwargs chat_template_args",
    "template_arguments.enable_thinking": "enable_thinking thinking",
    "keep_special_tokens": "skip_special_tokens rollout_skip_special_tokens include_stop_str_in_output",
    "template": "apply_chat_template chat_template prompt_template input_template",
    "reward": (
        "reward_funcs reward_func reward_fn reward_function reward_functions rm_type remote_rm_url "
        "custom_rm_path reward_model custom_reward_function reward_model_path reward_pretrain verifier "
        "reward_fns rewards compute_score custom_reward_function.path"
    ),
    "reward=mix": "reward_weights reward_weight rewards_weights",
    "out": (
        "run_name experiment_name exp_name log_path "
        "output_dir save_path ckpt_path default_local_dir log_dir logdir run_dir output_path output save_dir"
    ),
    "tracker": "report_to logger use_wandb wandb use_tensorboard log_with logging",
    "wandb_project": "project_name project wandb_project_name",
    "device": "cuda gpu gpus accelerator device_map",
    "dtype=bfloat16": "bf16",
    "dtype": "torch_dtype precision model_dtype param_dtype mixed_precision",
    "slots": "max_num_seqs rollout_max_num_seqs max_running_requests num_concurrent",
    "staleness": (
        "ahead async_train max_async_level async_queue_size staleness_threshold max_off_policy_steps "
        "async_level async_rollout max_staleness max_staleness_steps max_head_offpolicyness off_by_n "
        "max_weight_staleness max_trajectory_age_steps async_steps max_steps_off_policy"
    ),
    "order": "shuffle shuffle_dataset rollout_shuffle curriculum data.shuffle",
    "stop": "stop_strings stop_sequences rollout_stop stop_token_ids",
    "objective.policy.loss": "policy_loss loss_type loss_mode policy_loss_fn loss_fn policy_loss_type loss",
    "objective.policy.loss.clip_low": "epsilon_low eps_clip_low clip_ratio_low ratio_clip_min eps_low",
    "objective.policy.loss.clip_high": (
        "epsilon_high eps_clip_high clip_ratio_high ratio_clip_max clip_higher eps_high"
    ),
    "objective.policy.share": (
        "loss_agg_mode loss_aggregation token_level_loss loss_reduction calculate_per_token_loss"
    ),
    "objective.policy.correction": (
        "off_policy_correction "
        "importance_sampling_correction use_tis tis tis_clip vllm_importance_sampling_correction rollout_is "
        "rollout_correction rollout_is_threshold enable_vllm_is_correction "
        "use_importance_sampling_correction"
    ),
    "advantage.credit": "adv_estimator advantage_estimator estimator advantage_type algorithm.adv_estimator",
    "advantage.credit.std_mode": (
        "scale_rewards norm_adv_by_std_in_grpo grpo_std_normalization normalize_advantages "
        "disable_grpo_std_normalization use_std_normalization"
    ),
    "advantage.whiten": "whiten_advantages advantage_normalization adv_norm whiten normalize_advantage",
    "advantage.credit.gamma": "discount discount_factor",
    "advantage.credit.lam": "lambda lambd gae_lambda lmbda",
    "objective.policy.select=not_truncated": (
        "mask_truncated_completions overlong_filtering mask_truncated overlong_filter filter_overlong"
    ),
    "rollout=dynamic_sampling": (
        "dynamic_filtering filter_groups dynamic_sampling use_dynamic_sampling dynamic_sampling_filter_path "
        "over_sampling_batch_size filter_groups.enable max_num_gen_batches"
    ),
    "max_turns": "max_assistant_turns max_tool_calls max_user_turns max_tool_calling_iterations",
    "environment": "tools env environment_name env_name env_path agent_func_path multi_turn",
    "reference_update=moving_average": (
        "sync_ref_model ref_model_sync_steps ref_model_mixup_alpha ref_update_interval"
    ),
    "temperature": "temp rollout_temperature sampling_temperature generation_temperature",
    "top_p": "rollout_top_p nucleus",
    "top_k": "rollout_top_k",
    "seed": "random_seed manual_seed rollout_seed data_seed",
    "threads": "num_threads num_cpus cpus num_workers omp_num_threads n_jobs dataloader_num_workers",
    "critic.pretrain_steps": "critic_warmup freezing_actor_steps value_warmup",
    "critic.objective.value.loss.clip": "value_clip cliprange_value eps_clip_value value_clip_range",
    "reference": "ref_model reference_model ref_model_path use_reference ref_policy",
    "teacher": "teacher_model teacher_model_name_or_path teacher_model_path teacher_path teacher_name",
    "teacher_rate": "teacher_update_rate ema_teacher_rate teacher_ema_rate",
    "objective.policy.select=early_stop": "target_kl kl_threshold early_stopping",
    "critic.objective.value.coef": "vf_coef value_loss_coef vf_loss_coef critic_coef",
    "recipe": "algorithm algo algorithm_type trainer trainer_type method",
}
"""Our setting -> names of the same in other libraries, in lower case with underscores."""

SENTENCES: dict[str, str] = {
    "{name} counts other things in every library; here prompts_per_step counts questions, "
    "samples_per_prompt the answers to each, and updates_per_step the updates that share them": (
        "batch_size train_batch_size per_device_train_batch_size generation_batch_size global_batch_size "
        "gen_batch_size effective_batch_size"
    ),
    "every answer is learned from once here; updates_per_step divides those of a step into several updates": (
        "num_iterations ppo_epochs num_ppo_epochs max_epochs update_epochs mu inner_epochs"
    ),
    "an update has prompts_per_step x samples_per_prompt / updates_per_step answers here; set "
    "updates_per_step": (
        "ppo_mini_batch_size mini_batch_size num_mini_batches num_minibatches ppo_num_mini_batches"
    ),
    "{name} is a matter of memory, which tokens_per_forward bounds here, in tokens": (
        "micro_batch_size micro_train_batch_size micro_rollout_batch_size ppo_micro_batch_size "
        "ppo_micro_batch_size_per_gpu log_prob_micro_batch_size log_prob_micro_batch_size_per_gpu "
        "gradient_accumulation_steps max_tokens_per_gpu ppo_max_token_len_per_gpu max_length_per_device "
        "gradient_accumulation grad_accum train_micro_batch_size logprob_batch_size accumulate_grad_batches "
        "gradient_checkpointing enable_gradient_checkpointing activation_checkpointing"
    ),
    "{name} is warmup_updates here, a number of updates": (
        "warmup_ratio lr_warmup_ratio lr_warmup_steps_ratio lr_warmup_fraction"
    ),
    "{name} is final_fraction here, a share of the learning rate": ("min_lr lr_min end_lr"),
    "there is no fp16 here; dtype=bfloat16 has the same size": ("fp16 half"),
    "{name} belongs to template here, a name or text with {{q}} for the question": ("system_prompt"),
    "{name} is the coefficient of the KL term here, which a run has once it is added: "
    "objective.kl.loss=kl objective.kl.share=token_mean objective.kl.coef=.001 reference=frozen": (
        "beta kl_coef kl_coeff kl_loss_coef kl_penalty_coef kl_beta kl_ctrl.kl_coef kl_coefficient "
        "use_kl_loss init_kl_coef reference_policy_kl_penalty kl_weight use_kl kl_penalty kl kl_div kl_reg"
    ),
    "{name} is objective.kl.loss.estimator here, of a KL term: objective.kl.loss=kl "
    "objective.kl.share=token_mean objective.kl.coef=.001 reference=frozen": (
        "kl_estimator kl_loss_type kl_type"
    ),
    "{name} is the pair objective.policy.loss.clip_low and objective.policy.loss.clip_high here: "
    "objective.policy.loss.clip_low=.2 objective.policy.loss.clip_high=.2": (
        "epsilon eps_clip clip_ratio cliprange clip_range clip clip_eps clip_epsilon clip_param pg_clip "
        "eps_clip_low_high ppo_clip_ratio clip_coef"
    ),
    "{name} is objective.policy.loss.bound of the loss dual_clip here: objective.policy.loss=dual_clip": (
        "delta dual_clip clip_ratio_c ratio_clip_c dual_clip_loss eps_clip_c"
    ),
    "{name} is the coefficient of an entropy term here: objective.entropy.loss=entropy "
    "objective.entropy.share=token_mean objective.entropy.coef=.001": (
        "entropy_coef entropy_coeff ent_coef entropy_loss_coef entropy_bonus entropy_beta entropy_coefficient"
    ),
    "{name} is the loss gspo here: objective.policy.loss=gspo objective.policy.share=sequence_mean": (
        "importance_sampling_level"
    ),
    "{name} chooses among masks of tokens; here it is a selection: objective.policy.select=top_entropy": (
        "top_entropy_quantile"
    ),
    "runs are counted in steps and not in epochs here; set steps, where an epoch is questions / "
    "prompts_per_step": (
        "epochs num_train_epochs total_epochs num_epochs num_epoch n_epochs num_episodes max_num_epochs "
        "epoch total_episodes"
    ),
    "{name} is a part before the estimator here: advantage='{{norm: reward_norm, credit: grpo}}'": (
        "normalize_reward normalize_rewards norm_reward reward_clip reward_clip_range whiten_rewards"
    ),
    "{name} is a part before the estimator here: "
    "advantage='{{length: {{kind: linear_length, free: 500}}, credit: grpo}}'": "length_penalty len_penalty",
    "{name} is a part before the estimator here: advantage='{{overlong: overlong, credit: grpo}}'": (
        "overlong_buffer overlong_buffer_len overlong_buffer.len soft_overlong_punishment overlong_penalty"
    ),
    "there is no LoRA here; all weights are trained": (
        "lora use_lora lora_rank lora_r lora_alpha lora_dropout peft use_peft peft_config qlora adapter "
        "lora_target_modules target_modules"
    ),
    "there is no quantised training here; dtype=bfloat16 halves the memory of the weights": (
        "load_in_4bit load_in_8bit quantization bits use_4bit int8"
    ),
    "there is no vLLM or SGLang here; Menon has a sampler of its own, whose memory is set by slots": (
        "use_vllm vllm vllm_mode vllm_gpu_memory_utilization gpu_memory_utilization vllm_num_engines sglang "
        "vllm_tensor_parallel_size rollout.name use_sglang enforce_eager vllm_server_host "
        "sglang_mem_fraction_static inference_engine rollout_num_gpus_per_engine tensor_model_parallel_size"
    ),
    "a run takes one process and at most one GPU here; leave {name} out": (
        "n_gpus_per_node nnodes num_gpus tensor_parallel_size deepspeed zero_stage fsdp fsdp_config "
        "world_size actor_num_nodes actor_num_gpus_per_node colocate ref_num_nodes ref_num_gpus_per_node "
        "num_nodes ngpus tp_size pp_size sequence_parallel_size nproc_per_node pipeline_model_parallel_size "
        "colocate_all_models actor_num_gpus rollout_num_gpus accelerate ddp num_gpus_per_node"
    ),
    "prompts are never cut here, and those longer than the context are refused (on_bad=skip leaves them "
    "out)": (
        "max_prompt_length prompt_max_len rollout_max_prompt_len max_prompt_len prompt_length "
        "max_input_length max_input_seq_length max_prompt_tokens"
    ),
    "every step is written down here, with its answers; leave {name} out": (
        "logging_steps log_interval log_freq log_completions logging_dir log_every verbose log_level "
        "wandb_log"
    ),
    "{name} is the option --resume here: menon train --resume RUN": (
        "resume resume_from_checkpoint resume_mode load_checkpoint resume_path auto_resume continue_from"
    ),
    "answers are drawn by temperature, top_p and top_k alone here; leave {name} out": (
        "min_p repetition_penalty presence_penalty frequency_penalty do_sample"
    ),
    "a critic starts from the policy's weights here; take a recipe that has one, like ppo": (
        "critic_pretrain value_model critic_model critic_path value_model_path use_critic"
    ),
    "nothing is uploaded here; a checkpoint is an ordinary Hugging Face folder": (
        "push_to_hub hub_model_id hub_token hub_strategy"
    ),
    "attention is chosen by device and model here; leave {name} out": (
        "attn_implementation flash_attn use_flash_attn use_flash_attention flash_attention_2 flash_attention"
    ),
    "the optimiser is AdamW here; leave {name} out": ("optim optimizer optimizer_type optim_type"),
}
"""Sentence -> names that it answers, where there is no setting that is just the same."""

NEW_NAMES = {name: f"{{name}} is {ours} here" for ours, names in SETTINGS.items() for name in names.split()}
MOST = 10
"""Names of one table that are answered at once."""
ANSWERS = NEW_NAMES | {name: sentence for sentence, names in SENTENCES.items() for name in names.split()}
"""Name in another library -> the sentence about it."""


def answer_for(name: str) -> str:
    """The sentence about a name of another library; "" if it is none. A dotted name is looked up by its end.

    >>> answer_for("num_generations"), answer_for("--n-samples-per-prompt")
    ('num_generations is samples_per_prompt here', '--n-samples-per-prompt is samples_per_prompt here')
    >>> answer_for("actor_rollout_ref.rollout.n"), answer_for("steps")
    ('actor_rollout_ref.rollout.n is samples_per_prompt here', '')
    """
    names = name.lstrip("-").lower().replace("-", "_").split(".")
    ends = (".".join(names[start:]) for start in range(len(names)))
    return next((ANSWERS[end].format(name=name) for end in ends if end in ANSWERS), "")


def answer_near(name: str, ours: Collection[str]) -> str:
    """The sentence about the name of another library that is spelt nearly so; "" if one of ours is as near.

    >>> answer_near("num_generation", ["steps"]), answer_near("stepz", ["steps"])
    ('num_generations is samples_per_prompt here', '')
    """
    near = get_close_matches(name.lower(), ANSWERS, 1, 0.85)
    return answer_for(near[0]) if best(name, ours) < best(name, near) else ""


def best(name: str, names: Collection[str]) -> float:
    """How like the name the likeliest of the names is, from 0 to 1."""
    return max((SequenceMatcher(None, one, name.lower()).ratio() for one in names), default=0.0)


def answer_within(name: str, value: Any, settings: Collection[str] | None = None) -> str:
    """The same for a setting whose value may be a table, as verl's are: the answers about all names in it, at
    most `MOST` of them. `settings`: those of a command that does not train; only names of these are answered.

    >>> answer_within("trainer", {"max_steps": 5, "max_grad_norm": 1})
    'trainer.max_steps is steps here; trainer.max_grad_norm is clip_norm here'
    >>> answer_within("max_tokens", 5, ["max_new_tokens"]), answer_within("lora", 1, ["max_new_tokens"])
    ('max_tokens is max_new_tokens here', '')
    """
    answers = {path: answer_for(path) for path in leaves(name, value)}
    fits = [
        a for path, a in answers.items() if settings is None or a in (f"{path} is {s} here" for s in settings)
    ]
    said = list(dict.fromkeys(filter(None, fits)))
    more = [f"and {len(said) - MOST} more"] if len(said) > MOST else []
    return "; ".join([*said[:MOST], *more])


def leaves(name: str, value: Any) -> Iterator[str]:
    """The dotted names of the settings in a table; of anything else its own name."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(f"{name}.{key}".lstrip("."), item)
    else:
        yield name
